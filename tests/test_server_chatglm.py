"""`POST /` of the local server, beside what THUDM's api.py does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from chatglm_magic.local import LocalServer
from chatglm_magic.server import chatglm_api
from chatglm_magic.server.validation import BadField, Changes

from .support.local_servers import auth_headers, post_json

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """The built-in model."""
    with LocalServer() as running:
        yield running


def test_reply_has_exactly_the_four_keys(server: LocalServer) -> None:
    """A plain question is answered with response, history, status 200 and the local time."""
    reply = post_json(server, "", {"prompt": "你好"})
    body = reply.json()
    assert reply.status_code == 200
    assert list(body) == ["response", "history", "status", "time"]
    assert body["history"] == [["你好", body["response"]]] and body["response"]
    assert body["status"] == 200
    assert abs(time.mktime(time.strptime(body["time"], "%Y-%m-%d %H:%M:%S")) - time.time()) < 60
    assert "你好" in reply.text  # readable, as the original's JSON is


def test_history_comes_back_with_the_new_pair(server: LocalServer) -> None:
    """The history sent is returned unchanged, with this question and its answer at its end."""
    history = [["hi", "Hello!"], ["<|user|>", ""]]
    body = post_json(server, "", {"prompt": "what is top_p?", "history": history, "temperature": 0}).json()
    assert body["history"] == [*history, ["what is top_p?", body["response"]]]


def test_history_is_read_by_the_model(server: LocalServer) -> None:
    """What went before counts as tokens of the prompt."""
    long = [["tell me about temperature " * 400, "yes " * 800]]
    reply = post_json(server, "", {"prompt": "hi", "history": long})
    assert reply.status_code == 422
    assert "shorten" in reply.json()["detail"][0]["msg"]


def test_temperature_0_is_greedy(server: LocalServer) -> None:
    """Temperature 0 gives one answer whatever the seed; the original would make it 0.95."""
    asked = {"prompt": "tell me a joke", "temperature": 0, "top_p": 1, "max_length": 60}
    answers = {post_json(server, "", asked | {"seed": seed}).json()["response"] for seed in range(5)}
    assert len(answers) == 1
    control = {post_json(server, "", asked | {"temperature": 5, "seed": s}).json()["response"] for s in range(5)}
    assert len(control) == 5


def test_seed_in_the_header_repeats_the_answer(server: LocalServer) -> None:
    """Each reply says which seed was used, and that seed gives the same answer again."""
    asked = {"prompt": "tell me a joke", "temperature": 3, "top_p": 1, "max_length": 60}
    first = post_json(server, "", asked)
    again = post_json(server, "", asked | {"seed": int(first.headers["X-ChatGLM-Seed"])})
    assert again.json()["response"] == first.json()["response"]


def test_stop_ends_the_answer(server: LocalServer) -> None:
    """The extra key `stop` cuts the answer before the text; an empty one is left out."""
    asked = {"prompt": "what is top_p?", "temperature": 0}
    whole = post_json(server, "", asked).json()["response"]
    word = whole.split()[3]
    cut = post_json(server, "", asked | {"stop": ["", word]})
    assert cut.json()["response"] == whole[: whole.index(word)].strip()
    assert cut.headers["X-ChatGLM-Changed"] == 'stop=""->dropped'


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({}, None),
        ({"max_length": 20000}, "max_length=20000->2048"),
        ({"max_length": 0}, "max_length=0->2048"),
        ({"max_length": -3}, "max_length=-3->2048"),
        ({"max_length": None, "history": None, "top_p": None, "temperature": None}, None),
        ({"top_p": 0}, "top_p=0->0.01"),
        ({"top_p": 1.5}, "top_p=1.5->1"),
        ({"temperature": -1}, "temperature=-1->0"),
        ({"temperature": 1e-30}, "temperature=1e-30->0"),
        ({"temperature": 1e9}, "temperature=1000000000.0->100"),
        ({"seed": 2**40}, f"seed={2**40}->256"),
        ({"max_length": 20000, "top_p": 0}, "top_p=0->0.01; max_length=20000->2048"),
        ({"whatever": 1}, None),
    ],
)
def test_changes_stand_in_the_header(server: LocalServer, more: dict[str, Any], changed: str | None) -> None:
    """Values the engine would not take are changed, and the header says which; unknown keys are ignored."""
    reply = post_json(server, "", {"prompt": "hi", "max_length": 60, **more})
    assert reply.status_code == 200
    assert reply.headers.get("X-ChatGLM-Changed") == changed


BAD: list[tuple[Any, list[Any]]] = [
    ({}, ["prompt"]),
    ({"prompt": None}, ["prompt"]),
    ({"prompt": 5}, ["prompt"]),
    ({"prompt": ["hi"]}, ["prompt"]),
    ([], []),
    ("hi", []),
    ({"prompt": "hi", "history": "x"}, ["history"]),
    ({"prompt": "hi", "history": ["a", "b"]}, ["history", 0]),
    ({"prompt": "hi", "history": [["a", "b", "c"]]}, ["history", 0]),
    ({"prompt": "hi", "history": [["a", "b"], [None, "b"]]}, ["history", 1, 0]),
    ({"prompt": "hi", "history": [{"role": "user"}]}, ["history", 0]),
    ({"prompt": "hi", "temperature": "hot"}, ["temperature"]),
    ({"prompt": "hi", "temperature": "0.5"}, ["temperature"]),
    ({"prompt": "hi", "temperature": True}, ["temperature"]),
    ({"prompt": "hi", "top_p": []}, ["top_p"]),
    ({"prompt": "hi", "max_length": "10"}, ["max_length"]),
    ({"prompt": "hi", "max_length": 1.5}, ["max_length"]),
    ({"prompt": "hi", "max_length": 3}, ["max_length"]),
    ({"prompt": "hi", "seed": "x"}, ["seed"]),
    ({"prompt": "hi", "stop": 5}, ["stop"]),
    ({"prompt": "hi", "stop": ["a", 5]}, ["stop", 1]),
    ({"prompt": "hi " * 5000}, ["max_length"]),
    ({"prompt": "hi " * 400_000}, ["prompt"]),
]


@pytest.mark.parametrize(("body", "place"), BAD, ids=[str(body)[:50] for body, _ in BAD])
def test_bad_input_is_422_with_its_place(server: LocalServer, body: Any, place: list[Any]) -> None:
    """What the original answers with a 500 gets FastAPI's 422: type, place, message, input."""
    reply = post_json(server, "", body)
    assert reply.status_code == 422
    (detail,) = reply.json()["detail"]
    assert list(detail) == ["type", "loc", "msg", "input"]
    assert detail["loc"] == ["body", *place]
    assert len(reply.content) < 1000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff{}",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "hi", "temperature": NaN}',
        b'{"prompt": "hi", "temperature": 1e999}',
        b'{"prompt": "hi", "top_p": -Infinity}',
        b'{"prompt": "hi", "seed": ' + b"1" * 10_000 + b"}",
        b'{"prompt": ' + b"[" * 100_000 + b"}",
    ],
    ids=lambda data: repr(data[:36]),
)
def test_bad_json_is_422(server: LocalServer, data: bytes) -> None:
    """Bytes that are no JSON, or JSON no client means, get a 422 and do no harm."""
    reply = requests.post(
        server.base_url, data, headers=auth_headers(server, Content_Type="application/json"), timeout=9
    )
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["msg"]
    assert post_json(server, "", {"prompt": "hi"}).status_code == 200


def test_other_methods_and_paths(server: LocalServer) -> None:
    """GET / is 405 and an unknown path 404, in FastAPI's words."""
    wrong = requests.get(server.base_url, headers=auth_headers(server), timeout=5)
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert wrong.headers["Allow"] == "POST"
    lost = requests.get(server.base_url + "nothing", headers=auth_headers(server), timeout=5)
    assert (lost.status_code, lost.json()) == (404, {"detail": "Not Found"})


# a few texts only: drawing from all of Unicode takes hypothesis seconds to prepare
texts = st.sampled_from(["", "hi", "爱", "<|user|>", "\ud800", "[gMASK]", "\x00"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
)
NUMBERS = ("max_length", "top_p", "temperature", "seed")
fields = {"history": st.lists(st.lists(texts, min_size=2, max_size=2), max_size=2) | anything, "stop": anything}
fields |= {name: st.integers() | st.floats() | anything for name in NUMBERS}


@given(body=st.fixed_dictionaries({"prompt": texts | anything}, optional=fields))
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    """Whatever the values are, the request is refused as a bad field or brought into range."""
    changes = Changes()
    try:
        ask = chatglm_api.parse_request(body, 2048, changes)
    except BadField as error:
        assert chatglm_api.error_detail(error)["detail"][0]["msg"]
        return
    assert 0 <= ask.sent["temperature"] <= 100 and 0 < ask.sent["top_p"] <= 1
    assert 1 <= ask.max_length <= 2048
    assert all(value.isascii() and "\n" not in value for value in changes.headers().values())
