"""Rows A18, A19, A20 and A22: a server that says to wait is waited for as it says, within bounds."""

from __future__ import annotations

from email.utils import formatdate
from functools import partial
from math import ceil
from socket import socket
from time import monotonic, time

import pytest

from ..support.clock import assert_within
from ..support.fault_requests import Outcome, both_waiting, run_at_once, send
from ..support.fault_scripts import good
from ..support.servers import Asked, Script, ScriptedServer, reply

SLACK = 0.5
CAP = 8.0


def busy(retry_after: str | None, status: int = 429) -> Script:
    """Say that there is too much to do."""
    wait = {} if retry_after is None else {"Retry_After": retry_after}
    return reply({"error": {"message": "too many requests", "code": "1302"}}, status=status, **wait)


@pytest.mark.row("A18")
@both_waiting
def test_the_wait_the_server_asks_for_is_kept(dialect: str, road: str) -> None:
    """After the second it asked for the answer comes; a server that goes on refusing gets three POSTs."""
    with (
        ScriptedServer(busy("1"), good(dialect)) as once,
        ScriptedServer(busy(None)) as always,
    ):
        outcome, refused = run_at_once(
            lambda: send(once, dialect, road),
            lambda: send(always, dialect, road),
        )
        outcome.ok("你好")
        assert len(once.posts) == 2
        waited = once.posts[1].at - once.posts[0].at
        assert waited >= 1.0
        assert_within(waited, 1.0 + SLACK)
        error = refused.failed("rate_limit")
        assert "too many requests" in str(error) and error.status == 429  # type: ignore[attr-defined]
        assert len(always.posts) == 3
        assert_within(refused.seconds, 0.5 + 1.0 + 2 * SLACK)


def senseless() -> list[str]:
    """Return the values of Retry-After that ask for no wait one could keep."""
    now = time()
    return [
        *("0", "-0", "0.0", "-1", "-60", "-1e9"),
        *("inf", "-inf", "Infinity", "nan", "1e35", "9" * 35, "1e999"),
        *("", "soon", "60 s", "0x40", "٦٠"),
        "Zun, 29 Sep 2023 16:26:27 GMT",
        "Fri, 99 Sep 2023 16:26:27 GMT",
        "Fri, 29 Sep 100000 16:26:27 GMT",
        formatdate(now - 60, usegmt=True),
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ]


@pytest.mark.row("A19")
@both_waiting
def test_an_odd_wait_is_no_wait(dialect: str, road: str) -> None:
    """Each of 23 odd values gives the jitter of a first retry; a date that makes sense is obeyed."""
    odd = senseless()
    assert len(odd) == 23

    def one(value: str) -> tuple[Outcome, float]:
        with ScriptedServer(busy(value), good(dialect)) as server:
            outcome = send(server, dialect, road)
            assert len(server.posts) == 2, (value, str(outcome))
            return outcome, server.posts[1].at - server.posts[0].at

    def dated(connection: socket, asked: Asked) -> None:
        dates.append(ceil(time() + 0.6))  # 0.6 to 1.6 s from now: dates have no fractions
        busy(formatdate(dates[0], usegmt=True))(connection, asked)

    def obeyed() -> tuple[Outcome, float]:
        with ScriptedServer(dated, good(dialect)) as server:
            outcome = send(server, dialect, road)
            assert len(server.posts) == 2, str(outcome)
            return outcome, server.posts[1].at - monotonic() + time() - dates[0]

    dates: list[int] = []
    found = run_at_once(*(partial(one, value) for value in odd), obeyed, width=8)
    for value, (outcome, waited) in zip([*odd, "a date"], found, strict=True):
        outcome.ok("你好", of=value)
        assert waited >= -0.05, (value, waited)
        assert_within(waited, SLACK if value == "a date" else 0.5 + SLACK, of=value)


@pytest.mark.row("A20")
@both_waiting
def test_a_wait_that_is_too_long_is_an_error_that_names_it(dialect: str, road: str) -> None:
    """Above two minutes there is one POST and no waiting."""
    later = formatdate(time() + 600, usegmt=True)
    for value, named in (("121", "121"), ("3600", "3600"), ("604800", "604800"), (later, "")):
        with ScriptedServer(busy(value)) as server:
            outcome = send(server, dialect, road)
            error = outcome.failed("rate_limit", of=value)
            assert named in str(error) and "wait" in str(error), (value, error)
            assert len(server.posts) == 1, value
            assert_within(outcome.seconds, SLACK, of=value)


@pytest.mark.row("A22")
@both_waiting
def test_busy_twice_then_an_answer(dialect: str, road: str) -> None:
    """Two 503 are got over, and the answer says how often it was asked for."""
    with ScriptedServer(busy(None, 503), busy(None, 503), good(dialect)) as server:
        outcome = send(server, dialect, road)
        assert outcome.ok("你好")["retries"] == 2
        assert len(server.posts) == 3
        assert_within(outcome.seconds, 0.5 + 1.0 + 2 * SLACK)
        assert server.posts[0].raw == server.posts[2].raw
    with ScriptedServer(good(dialect)) as server:
        assert "retries" not in send(server, dialect, road).ok("你好")  # the control
        assert len(server.posts) == 1
