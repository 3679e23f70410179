"""Numbers that no server would take are refused with the field's name: given, assigned, and in a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ParameterError

from ..support.models import both, endpoint_of, make_model, reply_with
from ..support.servers import ScriptedServer

WIRE = {
    "chatglm": {"temperature": "temperature", "top_p": "top_p", "max_token": "max_length"},
    "openai": {"temperature": "temperature", "top_p": "top_p", "max_token": "max_tokens"},
}
DEFAULTS = {"temperature": 0.1, "top_p": 0.7, "max_token": 20000}

Attempt = Callable[[str, str, Any], object]


def assign(url: str, name: str, value: Any) -> str:
    llm = ChatGLM(endpoint_url=url)
    setattr(llm, name, value)
    return llm.invoke("x")


def replaced(url: str, name: str, value: Any) -> str:
    llm = ChatGLM(endpoint_url=url, **{name: 1})
    setattr(llm, name, value)
    return llm.invoke("x")


ATTEMPTS: dict[str, Attempt] = {
    "construction": lambda url, name, value: ChatGLM(endpoint_url=url, **{name: value}).invoke("x"),
    "assignment": assign,
    "assignment_over_another": replaced,
    "call": lambda url, name, value: ChatGLM(endpoint_url=url).invoke("x", **{name: value}),
    "acall": lambda url, name, value: asyncio.run(ChatGLM(endpoint_url=url).ainvoke("x", **{name: value})),
    "stream": lambda url, name, value: list(ChatGLM(endpoint_url=url).stream("x", **{name: value})),
    "bind": lambda url, name, value: ChatGLM(endpoint_url=url).bind(**{name: value}).invoke("x"),
    "batch": lambda url, name, value: ChatGLM(endpoint_url=url).batch(["x"], **{name: value}),
    "generate": lambda url, name, value: ChatGLM(endpoint_url=url).generate(["x", "y"], **{name: value}),
}
attempts = pytest.mark.parametrize("attempt", ATTEMPTS)


@pytest.fixture(scope="module")
def quiet() -> Any:
    """A server that should hear of nothing."""
    with ScriptedServer(reply_with("ok")) as server:
        yield server


def refuse(quiet: ScriptedServer, dialect: str, attempt: str, name: str, *values: Any) -> None:
    """Assert that each value is refused by one line with the field's name, and that nothing is sent."""
    before = len(quiet.asked)
    for value in values:
        with pytest.raises(ParameterError, match=rf"^{name}\b") as caught:
            ATTEMPTS[attempt](endpoint_of(quiet, dialect), name, value)
        assert "\n" not in str(caught.value) and isinstance(caught.value, ValueError)
    assert len(quiet.asked) == before


def take(quiet: ScriptedServer, dialect: str, attempt: str, name: str, *values: Any) -> list[Any]:
    """Return what is sent for each value."""
    found = []
    for value in values:
        ATTEMPTS[attempt](endpoint_of(quiet, dialect), name, value)
        found.append(quiet.posts[-1].body.get(WIRE[dialect][name]))
    return found


@both
@attempts
def test_validation_temperature(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """0 to 10 is taken, with both ends; a zero is sent as 0.01 where servers read it as unset."""
    refuse(quiet, dialect, attempt, "temperature", -0.001, 10.001, -5, 1e300)
    sent = take(quiet, dialect, attempt, "temperature", 10, 0.5, 1, 0)
    assert sent == [10, 0.5, 1, 0.01 if dialect == "chatglm" else 0]


@both
@attempts
def test_validation_top_p(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """0 to 1 is taken, with both ends; a zero is sent as the lowest that servers take."""
    refuse(quiet, dialect, attempt, "top_p", -0.001, 1.001, 9.0)
    assert take(quiet, dialect, attempt, "top_p", 1, 0.5, 0) == [1, 0.5, 0.01]


@both
@attempts
def test_validation_max_token(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """Whole numbers from 1 on are taken."""
    refuse(quiet, dialect, attempt, "max_token", 0, -1, 0.5, 5.5)
    assert take(quiet, dialect, attempt, "max_token", 1, 5.0, 10**9) == [1, 5, 10**9]


@both
@attempts
def test_validation_none(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """None unsets: on openai nothing is sent, in ChatGLM's own protocol the original's default."""
    for name, default in DEFAULTS.items():
        assert take(quiet, dialect, attempt, name, None) == [default if dialect == "chatglm" else None]


@both
@attempts
def test_validation_nan(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """No number at all."""
    for name in DEFAULTS:
        refuse(quiet, dialect, attempt, name, float("nan"), -float("nan"))


@both
@attempts
def test_validation_inf(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """No end, up or down."""
    for name in DEFAULTS:
        refuse(quiet, dialect, attempt, name, float("inf"), -float("inf"))


@both
@attempts
def test_validation_bool(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """True is no 1."""
    for name in DEFAULTS:
        refuse(quiet, dialect, attempt, name, True, False)


@both
@attempts
def test_validation_hot(dialect: str, attempt: str, quiet: ScriptedServer) -> None:
    """Words are no numbers, also those that look like one."""
    for name in DEFAULTS:
        refuse(quiet, dialect, attempt, name, "hot", "0.5", "1", b"hot", [1], {"a": 1})


@both
def test_validation_hot__nor_bytes(dialect: str, quiet: ScriptedServer) -> None:
    """Bytes are no numbers either."""
    for name in DEFAULTS:
        refuse(quiet, dialect, "construction", name, b"1")


@both
def test_validation_nan__leaves_the_object_as_it_was(dialect: str, quiet: ScriptedServer) -> None:
    """A refused assignment changes nothing."""
    llm = make_model(quiet, dialect, temperature=0.5)
    for value in (float("nan"), "hot", 11, True):
        with pytest.raises(ParameterError):
            llm.temperature = value  # type: ignore[assignment]
    assert llm.temperature == 0.5
