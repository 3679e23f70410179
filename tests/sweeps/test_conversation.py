"""A sweep is stored under an id of its own, and is never taken for a conversation to resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatglm_magic.errors import ChatGLMError

from ..support.servers import ScriptedServer, legacy
from ..support.sweeps import open_session, run_sweep


@pytest.mark.parametrize("sweeps", [0, 1, 25])
def test_resume_passes_over_sweeps(tmp_path: Path, sweeps: int) -> None:
    """By default the newest conversation is resumed, however many sweeps came after it."""
    with ScriptedServer(legacy("ok")) as server:
        session = open_session(server.url, store=str(tmp_path))
        session.ask("older")
        session.reset()
        session.ask("before")
        for _ in range(sweeps):
            run_sweep(session, temperature=[0.1])
        session.reset()
        assert session.resume() == 1
        assert [turn.prompt for turn in session.turns] == ["before"]
        assert session.resume() == 1
        assert [turn.prompt for turn in session.turns] == ["older"]


def test_sweeps_alone_are_nothing_to_resume(tmp_path: Path) -> None:
    """Without an earlier conversation ``resume()`` is an error, and the session stays as it is."""
    with ScriptedServer(legacy("ok")) as server:
        session = open_session(server.url, store=str(tmp_path))
        run_sweep(session, temperature=[0.1, 0.5])
        with pytest.raises(ChatGLMError, match="no earlier conversation"):
            session.resume()
        assert session.turns == ()
