"""Asking over a page, and what session and store then know."""

from __future__ import annotations

import json
import time
from typing import Any

from . import stored_turns
from .clock import assert_within
from .kernels import Ran
from .pages import Page
from .servers import Asked, ScriptedServer

BACK = 0.5
"""Seconds after an interrupt within which the kernel is free again."""
CLOSED = 1.0
"""Seconds after an interrupt, or Stop, within which the server sees the connection close."""


def point_at(page: Page, server: ScriptedServer) -> None:
    """Begin a new conversation with a server."""
    ran = page.run(
        f"inside.calm(); get_session().reset(); get_session().settings.endpoint_url = {server.url + 'v1'!r}"
    )
    assert ran.error is None, ran.error


def evaluate(page: Page, expression: str) -> Any:
    """Return a JSON value out of the kernel."""
    ran = page.run(f"import json; print(json.dumps({expression}))", store_history=False)
    assert ran.error is None, ran.error
    return json.loads(ran.text)


def read_turns(page: Page) -> list[list[str]]:
    """Return status, prompt and answer of each turn of the session, its memory and its store compared."""
    turns = "[[t.status, t.prompt, t.answer] for t in {}]"
    memory = evaluate(page, turns.format("get_session().turns"))
    assert evaluate(page, turns.format("get_session().history")) == memory
    assert evaluate(page, "get_session().store.flush()"), "not all could be saved"
    on_disk = stored_turns.load_turns(page.home, conversation=evaluate(page, "get_session().conversation"))
    assert sorted([turn.status, turn.prompt, turn.answer] for turn in on_disk) == sorted(memory)
    assert stored_turns.is_sound(page.home)
    return list(memory)


def interrupt(page: Page) -> float:
    """Interrupt the kernel as a front end does; return when."""
    now = time.monotonic()
    page.manager.interrupt_kernel()
    return now


def wait_stopped(
    page: Page, server: ScriptedServer, running: str, struck: float, asked: Asked | None = None
) -> Ran:
    """Wait for an interrupted cell; hold it to the time it may take, and the connection to its own."""
    back, ran = page.done(running) - struck, page.wait(running)
    assert_within(back, BACK, of="the kernel was busy")
    assert ran.error is not None, "the cell ended as if nothing had happened"
    if asked is not None:
        assert_within(server.wait_closed(asked) - struck, CLOSED, of="the server goes on")
    return ran
