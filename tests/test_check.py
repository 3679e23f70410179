"""``%chatglm_check``: servers that lie are found out, honest ones believed, and none gets over ten requests."""

from __future__ import annotations

import json
import math
import random
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.lib.pretty import pretty

from chatglm_magic import ChatGLM, LocalServer, Session
from chatglm_magic.errors import EndpointError
from chatglm_magic.session.check import (
    MAX_REQUESTS,
    SYSTEM_PROMPT,
    ServerCheck,
    describe_trials,
    plan_trials,
    run_check,
)
from chatglm_magic.session.verdicts import CONCLUSIONS, TrialResult

from .support.servers import Asked, ScriptedServer, chunk, reply

WORDS = ["red", "green", "blue", "amber", "violet", "silver", "golden", "brown", "black", "white", "grey", "pink"]
GREEDY = "I like red and green and blue because they look calm and bright at once"
DOCS = Path(__file__).parent.parent / "docs"


@dataclass
class Model:
    """A server's model: it answers as its parameters say, but for what it is told to get wrong.

    :param lies: ``temperature`` (always greedy), ``steady`` (never), ``top_p``, ``seed``, ``max_token`` (at least
        16), ``stop``, ``stream`` (whole first), ``system`` and ``history`` (not read), ``usage`` and ``logprobs``
        (none), ``thinking`` (always on).
    :param refuses: keys of the body that are answered with 400, and stream_options with 422.
    :param hottest: the highest temperature that isn't refused.
    :param most_logprobs: the most top_logprobs that aren't refused.
    :param thoughts: how many pieces of thinking there are.
    :param thinks: whether it thinks unless it is told not to.
    :param tempered: whether its log probabilities have been through the temperature.
    """

    lies: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    thinks: bool = False
    tempered: bool = False
    hottest: float = 99.0
    most_logprobs: int = 99
    thoughts: int = 2
    seconds: float = 0.0
    """The time of day, which passes only while a whole answer is written before any of it is sent."""
    broken: frozenset[str] = frozenset()
    """Keys of the body that are answered with 500."""
    name: str = "test-glm"
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def words_of(self, body: dict[str, Any]) -> list[str]:
        """Return the answer to a request."""
        temperature = 0.0 if "temperature" in self.lies else body.get("temperature", 1.0)
        if "steady" in self.lies:
            temperature = 1.0
        narrow = body.get("top_p", 1.0) < 0.05 and "top_p" not in self.lies
        if temperature == 0 or narrow or body.get("do_sample") is False:
            told = [m["content"] for m in body["messages"] if m["role"] == "system" and "system" not in self.lies]
            return ["Red,", "green,", "blue."] if told else GREEDY.split()
        seed = None if "seed" in self.lies else body.get("seed")
        draw = random.Random(seed) if seed is not None else random.Random()
        return [draw.choice(WORDS) for _ in range(12)]

    def logprobs_of(self, body: dict[str, Any]) -> dict[str, float]:
        """Return the log probabilities of the first token."""
        scale = body.get("temperature", 1.0) if self.tempered else 1.0
        logits = {word: -0.6 * rank / (scale or 1.0) for rank, word in enumerate(WORDS[:5])}
        total = math.log(math.fsum(math.exp(value) for value in logits.values()))
        return {word: value - total for word, value in logits.items()}

    def prompt_tokens(self, body: dict[str, Any]) -> int:
        """Return how many tokens of the messages are read."""
        read = body["messages"][-1:]
        if "system" not in self.lies:
            read += [message for message in body["messages"] if message["role"] == "system"]
        if "history" not in self.lies:
            read += [message for message in body["messages"][:-1] if message["role"] != "system"]
        return sum(len(message["content"].split()) for message in read)

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        body = asked.body
        self.bodies.append(body)
        for key in self.refuses & body.keys():
            words = {"error": {"message": f"{key} is not supported here"}}
            reply(words, status=422 if key == "stream_options" else 400)(connection, asked)
            return
        if self.broken & body.keys():
            reply({"error": {"message": "internal error"}}, status=500)(connection, asked)
            return
        if body.get("temperature", 0) > self.hottest:
            words = {"error": {"message": f"temperature must be at most {self.hottest}"}}
            reply(words, status=400)(connection, asked)
            return
        if body.get("top_logprobs", 0) > self.most_logprobs:
            words = {"error": {"message": f"top_logprobs must be at most {self.most_logprobs}"}}
            reply(words, status=400)(connection, asked)
            return
        words = self.words_of(body)
        for stop in [] if "stop" in self.lies else body.get("stop", []):
            words = " ".join(words).partition(stop)[0].split()
        self._write(connection, body, words)

    def _write(self, connection: socket.socket, body: dict[str, Any], words: list[str]) -> None:
        on = body.get("chat_template_kwargs", {}).get("enable_thinking", True)
        on = body.get("thinking", {}).get("type", "enabled") == "enabled" and on
        on = self.thinks and (on or "thinking" in self.lies)
        thoughts = [f"{word} so " for word in (words * 9)[: self.thoughts]] if on else []
        events = [chunk(None, reasoning_content=thought) for thought in thoughts]
        events += [chunk(word if number == 0 else f" {word}") for number, word in enumerate(words)]
        most = body.get("max_tokens", 99)
        events = events[: max(most, 16) if "max_token" in self.lies else most]
        for event in events:
            if body.get("logprobs") and "logprobs" not in self.lies:
                told = [
                    {"token": token, "logprob": value, "bytes": list(token.encode())}
                    for token, value in self.logprobs_of(body).items()
                ]
                event["choices"][0]["logprobs"] = {"content": [{**told[0], "top_logprobs": told}]}
            elif body.get("logprobs"):
                event["choices"][0]["logprobs"] = None
        for event in events:
            event["model"] = self.name
        last = chunk(None, finish_reason="stop") | {"model": self.name}
        if "usage" not in self.lies:
            counts = {"prompt_tokens": self.prompt_tokens(body), "completion_tokens": len(events)}
            last |= {"usage": counts}
        data = [f"data: {json.dumps(event)}\n\n".encode() for event in [*events, last]] + [b"data: [DONE]\n\n"]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        if "stream" in self.lies:
            self.seconds += 1.0  # the time that the whole answer takes
            connection.sendall(b"".join(data))
        else:
            for block in data:
                connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)


def check(script: Any, **fields: Any) -> ServerCheck:
    """Check a server with this model; it may get ten requests."""
    clock = (lambda: script.seconds) if isinstance(script, Model) else time.monotonic
    with ScriptedServer(script) as server:
        session = Session()
        session.settings.endpoint_url = f"{server.url}v1"
        for name, value in fields.items():
            setattr(session.llm, name, value)
        try:
            found = run_check(session.llm, clock)
        finally:
            session.close()
        assert len(server.posts) == found.requests <= MAX_REQUESTS
    return found


HONEST = {
    "protocol and model": "honoured",
    "streaming": "honoured",
    "temperature": "honoured",
    "top_p": "honoured",
    "max_token": "honoured",
    "stop": "honoured",
    "seed": "honoured",
    "logprobs": "honoured",
    "thinking": "can't tell",
    "system prompt": "honoured",
    "history": "honoured",
    "usage": "honoured",
}


def verdicts(found: ServerCheck) -> dict[str, str]:
    """Return the verdict of each row."""
    return {row.name: row.verdict for row in found}


def test_an_honest_server_is_believed() -> None:
    """Each row is honoured, but for the thinking of a model that doesn't think."""
    found = check(Model())
    assert verdicts(found) == HONEST
    assert "raw" in found["logprobs"].evidence and found.model == "test-glm" and found.dialect == "openai"


LIES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "ignores the temperature": (
        {"lies": {"temperature"}},
        {"temperature": "ignored", "top_p": "can't tell", "seed": "can't tell"},
    ),
    "is never steady": (
        {"lies": {"steady", "seed"}},
        {"temperature": "ignored", "top_p": "can't tell", "seed": "ignored"},
    ),
    "ignores the seed": ({"lies": {"seed"}}, {"seed": "ignored"}),
    "ignores top_p": ({"lies": {"top_p"}}, {"top_p": "ignored"}),
    "streams all at once": ({"lies": {"stream"}}, {"streaming": "ignored"}),
    "clamps max_token": ({"lies": {"max_token"}}, {"max_token": "ignored"}),
    "ignores stop": ({"lies": {"stop"}}, {"stop": "ignored"}),
    "has null for logprobs": ({"lies": {"logprobs"}}, {"logprobs": "ignored"}),
    "does not read the system prompt": ({"lies": {"system"}}, {"system prompt": "ignored"}),
    "does not read the history": ({"lies": {"history"}}, {"history": "ignored"}),
    "counts no tokens": ({"lies": {"usage"}}, {"usage": "ignored", "history": "can't tell"}),
    "thinks, and can be told not to": ({"thinks": True}, {"thinking": "honoured"}),
    "thinks all the same": ({"thinks": True, "lies": {"thinking"}}, {"thinking": "ignored"}),
    "refuses logprobs": ({"refuses": {"logprobs"}}, {"logprobs": "refused"}),
    "refuses seeds": ({"refuses": {"seed"}}, {"seed": "refused"}),
    "refuses top_p": ({"refuses": {"top_p"}}, {"top_p": "refused"}),
    "fails at logprobs": ({"broken": {"logprobs"}}, {"logprobs": "can't tell"}),
    "takes temperatures up to 1": ({"hottest": 1.0}, {}),
    "takes temperatures up to 1, and no seed": (
        {"hottest": 1.0, "refuses": {"seed"}},
        {"seed": "refused"},
    ),
    "takes two logprobs": ({"most_logprobs": 2}, {"logprobs": "refused"}),
    "thinks until it is cut": (
        {"thinks": True, "thoughts": 60},
        {"thinking": "honoured", "stop": "can't tell"},
    ),
    "refuses stop": ({"refuses": {"stop"}}, {"stop": "refused"}),
    "refuses to be told of thinking": (
        {"refuses": {"chat_template_kwargs"}, "thinks": True},
        {"thinking": "refused", "system prompt": "can't tell"},
    ),
    "refuses stream_options": ({"refuses": {"stream_options"}}, {}),
    "refuses so much that ten requests are used up": (
        {"refuses": {"stream_options"}, "hottest": 1.0},
        {"thinking": "can't tell", "system prompt": "can't tell"},
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_server_that_lies_is_found_out(name: str) -> None:
    """The row of what it does wrong says so, and no other row does."""
    model, expected = LIES[name]
    options = {key: frozenset(value) if isinstance(value, set) else value for key, value in model.items()}
    found = check(Model(**options))
    assert verdicts(found) == HONEST | expected
    for key in options.get("refuses", ()):
        for row in found:
            assert row.verdict != "refused" or f"{key} is not supported here" in row.evidence


STREAMED: dict[str, tuple[list[TrialResult], str]] = {
    "bit by bit": ([TrialResult(pieces=20, first=0.4, last=2.0)], "honoured"),
    "quickly": ([TrialResult(pieces=20, first=0.01, last=0.02)], "honoured"),
    "at once": ([TrialResult(pieces=20, first=1.0, last=1.001)], "ignored"),
    "in one piece": ([TrialResult(pieces=1, first=1.0, last=1.0)], "ignored"),
    "fast, behind a queue": ([TrialResult(pieces=20, first=0.4, last=0.42)], "can't tell"),
    "bit by bit, once the model is there": (
        [TrialResult(pieces=20, first=9.0, last=9.1), TrialResult(pieces=20, first=0.3, last=0.6)],
        "honoured",
    ),
}


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_is_told_by_when_its_pieces_arrive(name: str) -> None:
    """Against the wait for the first one; where that can be either, it can't be told."""
    replies, verdict = STREAMED[name]
    plan = ChatGLM(endpoint_url="http://127.0.0.1:1/v1").plan("hi")
    found = CONCLUSIONS["streaming"](dict(zip(("plain", "hot"), replies, strict=False)), plan)
    assert found[0] == verdict


def test_the_sessions_own_parameters_are_left_out() -> None:
    """What is set there would be taken for the server's doing."""
    model = Model()
    found = check(model, top_k=1, system="word " * 60, thinking="high", stop=["like"], min_p=0.5, seed=4)
    assert verdicts(found) == HONEST
    assert not any({"top_k", "min_p"} & body.keys() for body in model.bodies)
    assert {body.get("seed") for body in model.bodies} == {None, 1, 2}
    roles = [message["role"] for body in model.bodies for message in body["messages"]]
    assert roles.count("system") == 1 and sum("stop" in body for body in model.bodies) == 1


@pytest.mark.parametrize(
    ("asked", "served", "same"),
    [
        ("glm-4.7", "GLM-4.7", True),
        ("zai-org/GLM-4.7-FP8", "glm-4.7-fp8", True),
        ("gpt-x", "gpt-x-2026-08-06", True),
        ("glm-4.5:free", "z-ai/glm-4.5", True),
        ("glm-4.7", "qwen3", False),
    ],
)
def test_an_alias_is_the_model_that_was_requested(asked: str, served: str, same: bool) -> None:
    """Case, an owner, a date and a tag make no other model."""
    found = check(Model(name=served), model=asked)
    assert found["protocol and model"].verdict == ("honoured" if same else "ignored")


def test_a_model_that_always_thinks_is_not_blamed_for_it() -> None:
    """GLM-5.3 is not told to think not at all: what was sent instead is said."""
    found = check(Model(thinks=True, name="glm-5.3"), model="glm-5.3")
    assert found["thinking"].verdict == "can't tell"
    assert "thinking=off sent as low: GLM-5.3 always thinks" in found["thinking"].evidence


def test_a_server_that_gives_up_in_the_middle_leaves_the_rest_untold() -> None:
    """From the fourth request on it is too busy: what is known so far is kept."""
    model, count = Model(), [0]

    def script(connection: socket.socket, asked: Asked) -> None:
        count[0] += 1
        (model if count[0] < 4 else reply({"error": {"message": "slow down"}}, status=429))(connection, asked)

    found = check(script)
    assert found["streaming"].verdict == found["usage"].verdict == "honoured"
    assert {found[name].verdict for name in ("temperature", "top_p", "stop", "logprobs")} == {"can't tell"}
    assert "slow down" in found["stop"].evidence


def test_tempered_probabilities_are_told_apart_as_sglang_has_them() -> None:
    """An SGLang-like server: everything is honoured, and the logprobs have been through the temperature."""
    found = check(Model(tempered=True))
    assert verdicts(found) == HONEST and "tempered" in found["logprobs"].evidence


def test_zai_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Z.ai-like server: no logprobs, no usage wish, one stop string, thinking by its own switch."""
    model = Model(thinks=True, lies=frozenset({"logprobs"}), name="glm-4.7")
    with ScriptedServer(model) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        session = Session()
        session.settings.endpoint_url = "http://api.z.ai/api/paas/v4"
        session.llm.model = "glm-4.7"
        found = session.check()
        session.close()
        assert len(proxy.posts) == found.requests <= MAX_REQUESTS
    assert verdicts(found) == HONEST | {"logprobs": "ignored", "thinking": "honoured"}
    assert found["temperature"].verdict == "honoured"
    assert any(body.get("thinking") == {"type": "disabled"} for body in model.bodies)
    assert max(body.get("temperature", 0) for body in model.bodies) == 1


def test_it_leaves_conversation_settings_and_store_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn, no history, no tape; of the session's parameters the model goes along."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))
    model = Model()
    with ScriptedServer(model) as server:
        session = Session()
        session.settings.endpoint_url = f"{server.url}v1"
        session.llm.model, session.llm.tape = "glm", tmp_path / "t.jsonl"
        session.llm.history = [["a", "b"]]
        before = len(session.turns)
        session.check()
        assert session.llm.history == [["a", "b"]] and len(session.turns) == before
        assert {turn.prompt for turn in session.history.all} <= {"a"} and not (tmp_path / "t.jsonl").exists()
        session.close()
    assert {body["model"] for body in model.bodies} == {"glm"}
    assert not any(message["content"] == "a" for body in model.bodies for message in body["messages"])
    assert any(message["content"] == SYSTEM_PROMPT for body in model.bodies for message in body["messages"])


def test_a_server_that_is_not_there_is_an_error() -> None:
    """Nothing can be found out then."""
    session = Session()
    session.settings.endpoint_url = "http://127.0.0.1:1/v1"
    with pytest.raises(EndpointError, match="No server answers"):
        session.check()
    session.close()


def test_the_table_is_safe_and_has_all_forms() -> None:
    """A server's words are text in the page and the terminal; the table has a row for each thing."""
    trap = "<script>x</script> $\\unicode{65}$ \x1b[31m"

    def script(connection: socket.socket, asked: Asked) -> None:
        if asked.body.get("logprobs"):
            reply({"error": {"message": f"no logprobs {trap}"}}, status=400)(connection, asked)
        else:
            Model()(connection, asked)

    with ScriptedServer(script) as server:
        session = Session()
        session.settings.endpoint_url = f"{server.url}v1"
        found = session.check()
        session.close()
    page, text = found._repr_html_(), pretty(found)
    assert found["logprobs"].verdict == "refused" and "no logprobs" in page
    assert "<script>" not in page and 'class="mathjax_ignore' in page and "\x1b" not in page + text
    frame = found.to_dataframe()
    assert list(frame["name"]) == list(HONEST) and len(text.splitlines()) == 1 + len(HONEST)
    assert "seed" in found and "cheese" not in found
    with pytest.raises(KeyError):
        found["cheese"]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalServer]:
    """The built-in model."""
    with LocalServer() as server:
        yield server


@pytest.mark.parametrize("path", ["v1", ""])
def test_the_built_in_server_is_honest(local: LocalServer, path: str) -> None:
    """In both protocols; what ChatGLM's own has no word for can't be told."""
    session = Session()
    session.settings.endpoint_url = local.base_url + path
    session.llm.api_key = local.token
    found = session.check()
    session.close()
    missing = ("streaming", "stop", "logprobs", "system prompt", "usage")
    assert verdicts(found) == HONEST | ({} if path else dict.fromkeys(missing, "can't tell"))
    assert found.requests <= MAX_REQUESTS


@pytest.mark.parametrize("name", ["servers.md", "zh/servers.md"])
def test_the_documents_table_is_the_built_in_servers(name: str, local: LocalServer) -> None:
    """The page shows a real table: its verdicts and its evidence, but for the times."""
    session = Session()
    session.settings.endpoint_url, session.llm.api_key = local.url, local.token
    found = session.check()
    session.close()
    text = without_times((DOCS / name).read_text(encoding="utf-8"))
    for row in found:
        assert without_times(f"| {row.name} | {row.verdict} | {row.evidence} |") in text


def without_times(text: str) -> str:
    """Return text without the times of a stream, and with one number for its pieces.

    Whether the first answer or a longer one shows that the server streams depends on the machine's load.
    """
    return re.sub(r"(17|27) pieces from \d+\.\d+ to \d+\.\d+ s", "17 pieces", text)


def test_the_magic_returns_the_table_and_lists_its_requests(shell: InteractiveShell) -> None:
    """As a value, in a variable; --dry-run sends nothing."""
    model = Model()
    with ScriptedServer(model) as server:
        shell.run_line_magic("chatglm_config", f"endpoint_url={server.url}v1")
        shell.run_line_magic("chatglm_check", "--dry-run")
        assert server.posts == []
        found = shell.run_line_magic("chatglm_check", "-o kept")
        assert isinstance(found, ServerCheck) and shell.user_ns["kept"] is found


def test_a_dry_run_lists_what_would_be_sent() -> None:
    """A line for each request, with its parameters."""
    session = Session()
    session.settings.endpoint_url = "http://127.0.0.1:1/v1"
    text = describe_trials(plan_trials(session.llm))
    session.close()
    assert "At most 10" in text and "seed=2" in text and "top_logprobs=5" in text and "127.0.0.1:1" in text
