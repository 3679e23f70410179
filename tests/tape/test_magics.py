"""The tape as people use it: from a notebook's cells, and in the panel."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from chatglm_magic import get_session
from chatglm_magic.errors import CommandError, Interrupted, ParameterError, TapeError

from ..support.clock import assert_within
from ..support.inside import find_frame
from ..support.local_servers import wait_for
from ..support.panels import ask_and_wait, open_panel
from ..support.servers import ScriptedServer
from ..support.tapes import count_pieces, delay, read_lines

Say = Any


@pytest.fixture
def say(shared_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Run a cell in a folder of its own; return its result, or the error it ended in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path / "home"))
    shared_shell.run_line_magic("load_ext", "chatglm_magic")

    def run(cell: str) -> Any:
        with capture_output() as caught:
            result = shared_shell.run_cell(cell)
        run.shown = caught.stdout  # type: ignore[attr-defined]
        return result.error_in_exec or result.result

    yield run
    shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    shared_shell.reset(new_session=False)


CELLS = (
    "%chatglm -t 0.5 Hi 你好?",
    "%%chatglm\ntwo\nlines",
    "%chatglm -k sample=1 again",
    "%chatglm --no-stream x",
)


def test_a_notebook_gives_the_same_answers_again(say: Say, tmp_path: Path) -> None:
    """Cells that were run with a tape give the same without a server, in a new session."""
    with ScriptedServer(count_pieces()) as server:
        say(f"%chatglm_config endpoint_url={server.url}v1 tape=answers.jsonl")
        first = [str(say(cell)) for cell in CELLS]
        asked = len(server.posts)
        assert asked == len(CELLS) == len(read_lines(tmp_path / "answers.jsonl"))
    say("%unload_ext chatglm_magic")
    say("%load_ext chatglm_magic")
    say("%chatglm_config endpoint_url=http://127.0.0.1:9/v1 tape=answers.jsonl tape_mode=replay")
    assert [str(say(cell)) for cell in CELLS] == first
    error = say("%chatglm -t 0.7 Hi 你好?")
    assert isinstance(error, TapeError) and error.kind == "not_on_tape"


def test_a_parameter_that_is_changed_is_named(say: Say) -> None:
    """In a notebook that replays, a changed option ends in one line that names it with both values."""
    with ScriptedServer(count_pieces()) as server:
        say(f"%chatglm_config endpoint_url={server.url}v1 tape=answers.jsonl")
        say("%chatglm --no-history -t 0.5 Hi")
        say("%chatglm_config tape_mode=replay")
        error = say("%chatglm --no-history -t 0.7 Hi")
        assert isinstance(error, TapeError) and len(server.posts) == 1
        assert "The closest recording differs in temperature: recorded 0.5, requested 0.7." in str(error)
        assert "tape answers.jsonl" in str(error)


def test_the_environment_makes_a_notebook_replay(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CHATGLM_MAGIC_TAPE_MODE=replay a notebook that names a tape asks no server, and shows the mode."""
    monkeypatch.setenv("CHATGLM_MAGIC_TAPE_MODE", "replay")
    with ScriptedServer(count_pieces()) as server:
        say(f"%chatglm_config endpoint_url={server.url}v1 tape=answers.jsonl")
        assert isinstance(say("%chatglm Hi"), TapeError) and server.posts == []
        say("%chatglm_config")
        assert "replay" in say.shown and "answers.jsonl" in say.shown
        say("%chatglm_config tape_mode=auto")
        assert say("%chatglm Hi") == "Hi 答 1"


def test_what_the_tape_takes_is_said(say: Say) -> None:
    """A mode that does not exist and a switch that is none are refused; truth values of switches are taken."""
    error = say("%chatglm_config tape_mode=play")
    assert isinstance(error, ParameterError) and "auto, replay or record" in str(error)
    assert isinstance(say("%chatglm_config tape_timing=2"), ParameterError)
    assert isinstance(say("%chatglm_config top_p=true"), ParameterError)
    assert isinstance(say("%chatglm_config tapes=x"), CommandError)
    assert say("%chatglm_config tape_timing=true insecure=true tape=2024") is None
    settings = get_session().settings
    assert (settings.tape_timing, settings.insecure, settings.tape) == (True, True, "2024")
    say("%chatglm_config tape=None")
    assert settings.tape is None


def test_an_interrupt_ends_a_recorded_answer_at_its_own_pace(say: Say) -> None:
    """A replay with its timing is stopped like an answer that comes from a server, and its beginning is kept."""
    with ScriptedServer(count_pieces()) as server:
        say(f"%chatglm_config endpoint_url={server.url}v1 tape=answers.jsonl")
        say("%chatglm Hi")
        say("%chatglm_config tape_mode=replay tape_timing=true")
        say("%chatglm_history --reset")
        delay(Path("answers.jsonl"), Path("answers.jsonl"), 60)
        struck: list[float] = []

        def waits_for_the_second_piece() -> bool:
            frame = find_frame("tape/tape.py:stream")
            return frame is not None and frame.f_locals.get("seconds", 0) > 10

        def strike() -> None:
            wait_for(waits_for_the_second_piece, 20)
            struck.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        striking = threading.Thread(target=strike)
        striking.start()
        error = say("%chatglm Hi")
        took = time.monotonic() - struck[0]
        striking.join()
        assert isinstance(error, Interrupted)
        assert get_session().turns[-1].answer.startswith("Hi")
        assert_within(took, 1)


def test_the_panel_replays(say: Say) -> None:
    """What the panel asks goes over the session's tape."""
    with ScriptedServer(count_pieces()) as server:
        say(f"%chatglm_config endpoint_url={server.url}v1 tape=answers.jsonl")
        first = get_session().submit(get_session().aask("Hi", history=False)).result(10)
    say("%chatglm_config endpoint_url=http://127.0.0.1:9/v1 tape_mode=replay")
    session = get_session()
    with open_panel(session=session) as panel:
        ask_and_wait(panel, "Hi")
    assert len(session.turns) == 2 and session.turns[-1].answer == first
