"""Saving and copying: what comes back asks the same questions, and has no key that it must not have."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatglm_magic import ChatGLM, LocalServer

from ..support.models import CountingServer, both, endpoint_of, make_local_model, make_model, reply_with
from ..support.servers import ScriptedServer

FIELDS: dict[str, Any] = {
    "model_kwargs": {"top_k": 3, "爱": [1, None, {"a": True}]},
    "max_token": 80,
    "temperature": 0.5,
    "history": [["你好", "你好！"], ["a: b", "- 'c'\n"]],
    "top_p": 0.9,
    "with_history": True,
    "model": "glm-4.6",
    "system": "简短",
    "stop": ["。", "\n"],
    "seed": 7,
    "thinking": "off",
}

FURTHER: dict[str, Any] = {
    "timeout": {"idle": 3.0},
    "max_retries": 0,
    "max_concurrency": 3,
    "stream_usage": False,
    "tags": ["t"],
    "metadata": {"a": 1},
}


COPIES = {"deepcopy": copy.deepcopy, "copy": copy.copy, "model_copy": lambda llm: llm.model_copy()}


def of_length(text: str) -> list[int]:
    """A tokenizer that another process can import."""
    return [0] * len(text)


def read(path: Path) -> dict[str, Any]:
    """Read what was saved."""
    text = path.read_text(encoding="utf-8")
    found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    assert found.pop("_type") == "chat_glm"
    return dict(found)


def bodies(server: ScriptedServer, *models: ChatGLM) -> list[Any]:
    """Return what each of the models asks."""
    for each in models:
        each.invoke("x", with_history=False)
    return [post.body for post in server.posts[-len(models) :]]


@both
@pytest.mark.parametrize("ending", [".json", ".yaml", ".yml"])
def test_counting_save(dialect: str, ending: str, tmp_path: Path) -> None:
    """What is saved holds no key, is plain JSON or YAML, and builds a model that asks the same."""
    path = tmp_path / "deeper" / f"model{ending}"
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, api_key="sk-canary", headers={"X": "canary"}, **FIELDS)
        llm.save(path)
        assert "canary" not in path.read_text(encoding="utf-8")
        back = ChatGLM(**read(path))
        assert {name: getattr(back, name) for name in FIELDS} == FIELDS
        first, second = bodies(server, llm, back)
        assert first == second


@both
@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_counting_save__builds_an_equal_model(dialect: str, ending: str, tmp_path: Path) -> None:
    """Each field that is no secret comes back, so that the two are equal."""
    llm = ChatGLM(endpoint_url="http://127.0.0.1:1/", dialect=dialect, **FIELDS, **FURTHER)
    llm.save(tmp_path / f"model{ending}")
    back = ChatGLM(**read(tmp_path / f"model{ending}"))
    assert back.model_dump() == llm.model_dump()


EQUALS = {
    "built": lambda llm: ChatGLM(**FIELDS),
    "pickle": lambda llm: pickle.loads(pickle.dumps(llm)),  # noqa: S301 - our own bytes
    **COPIES,
}


@pytest.mark.parametrize("way", EQUALS)
def test_counting_deepcopy__is_equal(way: str) -> None:
    """Two models with the same fields are equal, as the original's are; with different ones they are not."""
    llm = ChatGLM(**FIELDS)
    other = EQUALS[way](llm)
    assert other == llm
    other.temperature = 0.6
    assert other != llm


@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_counting_save__makes_no_default_a_wish(ending: str, tmp_path: Path) -> None:
    """On openai a saved and built model sends what the first one sent, not the original's defaults."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, "openai", top_p=0.5)
        llm.save(tmp_path / f"model{ending}")
        first, second = bodies(server, llm, ChatGLM(**read(tmp_path / f"model{ending}")))
        assert first == second and "max_tokens" not in second


def test_counting_save__to_another_form_is_refused(tmp_path: Path) -> None:
    """As in the original, JSON and YAML are all there is."""
    with pytest.raises(ValueError, match="json or yaml"):
        ChatGLM().save(tmp_path / "model.toml")


@pytest.mark.parametrize("ending", [".json", ".yaml"])
def test_counting_save__of_what_is_no_value(ending: str, tmp_path: Path) -> None:
    """What neither form has a word for is a ValueError, and a file of that name is left as it was."""
    path = tmp_path / f"model{ending}"
    ChatGLM(seed=1).save(path)
    with pytest.raises(ValueError):
        ChatGLM(model_kwargs={"a": {1, object()}}).save(path)
    assert read(path)["seed"] == 1


@both
def test_counting_save__of_the_local_server(dialect: str, local: LocalServer, tmp_path: Path) -> None:
    """A saved model, given the key again, gives the same answer."""
    llm = make_local_model(local, dialect)
    llm.save(tmp_path / "model.yaml")
    back = ChatGLM(**read(tmp_path / "model.yaml"), api_key=local.token)
    assert local.token not in (tmp_path / "model.yaml").read_text() and back.invoke("hi") == llm.invoke("hi")


@both
def test_counting_pickle(dialect: str) -> None:
    """A pickle keeps every field but the secrets, and what was set and what was not."""
    with ScriptedServer(reply_with("ok")) as server:
        secrets = {"api_key": "sk-canary", "headers": {"X": "canary"}}
        llm = make_model(server, dialect, **FIELDS, **FURTHER, **secrets, custom_get_token_ids=of_length)
        llm.invoke("x")
        data = pickle.dumps(llm)
        back = pickle.loads(data)  # noqa: S301 - our own bytes
        assert b"canary" not in data and back.api_key is None and back.headers is None
        assert back.model_dump(exclude={"api_key"}) == llm.model_dump(exclude={"api_key"})
        assert back.model_fields_set == llm.model_fields_set and back.get_num_tokens("abc") == 3
        plain = pickle.loads(pickle.dumps(make_model(server, dialect)))  # noqa: S301
        first, second, third, fourth = bodies(server, llm, back, make_model(server, dialect), plain)
        assert first == second and third == fourth


@both
def test_counting_pickle__of_the_local_server(
    dialect: str, local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process gets asks with the key of its own environment."""
    llm = make_local_model(local, dialect)
    back = pickle.loads(pickle.dumps(llm))  # noqa: S301 - our own bytes
    monkeypatch.setenv("CHATGLM_API_KEY", local.token)
    assert back.invoke("hi") == llm.invoke("hi")


@both
@pytest.mark.parametrize("way", COPIES)
def test_counting_deepcopy(dialect: str, way: str) -> None:
    """A copy has all fields and the key; its connections and its conversation are its own."""
    with CountingServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, api_key="sk-1", headers={"X-A": "b"}, **FIELDS)
        llm.invoke("x")
        copied = COPIES[way](llm)
        assert copied.model_dump() == llm.model_dump() and copied is not llm
        copied.invoke("y")
        assert len(copied.history) == len(llm.history) + 1
        copied.history = llm.history
        copied.temperature = 1.0
        assert llm.temperature == 0.5
        assert server.posts[1].headers["authorization"] == "Bearer sk-1" and server.posts[1].headers["x-a"] == "b"
        assert copied.endpoint_url == endpoint_of(server, dialect) and server.made >= 2
        llm.close()
        assert copied.invoke("z") == "ok"


@both
def test_counting_deepcopy__is_deep(dialect: str) -> None:
    """What is inside the fields is copied too."""
    llm = ChatGLM(dialect=dialect, **copy.deepcopy(FIELDS))
    copied = copy.deepcopy(llm)
    copied.history[0][0] = copied.model_kwargs["爱"][0] = "changed"  # type: ignore[index]
    assert llm.history == FIELDS["history"] and llm.model_kwargs == FIELDS["model_kwargs"]
