"""``%%chatglm_sweep`` as it is typed, in a shell."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from chatglm_magic import get_session
from chatglm_magic.errors import ChatGLMError, CommandError, Interrupted, ParameterError
from chatglm_magic.sweeps import Sweep

from ..support.logprobs import ANSWER
from ..support.servers import ScriptedServer, hang, legacy
from ..support.sweeps import wait_until

Say = Any


@pytest.fixture
def say(shared_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Run a cell; return its value, or the error it ended in, or what it printed."""
    monkeypatch.chdir(tmp_path)
    shared_shell.run_line_magic("load_ext", "chatglm_magic")

    def run(cell: str) -> Any:
        with capture_output() as caught:
            result = shared_shell.run_cell(cell)
        run.printed = caught.stdout  # type: ignore[attr-defined]
        return result.error_in_exec or (result.result if result.result is not None else caught.stdout)

    with ScriptedServer(legacy(lambda body: f"{body['prompt']} {body['temperature']}")) as server:
        run(f"%config ChatGLMSettings.endpoint_url = '{server.url}'")
        run("%chatglm_config store=off")
        run.server, run.shell = server, shared_shell  # type: ignore[attr-defined]
        yield run
        shared_shell.run_line_magic("unload_ext", "chatglm_magic")
        shared_shell.reset(new_session=False)


def test_a_cell_sweeps_and_its_value_is_the_result(say: Say) -> None:
    """The body reaches the model as typed, a question mark at its end too; the result shows its heat map."""
    result = say("%%chatglm_sweep temperature=0.1,0.5 top_p=0.5:0.9:2 --samples 2 --jobs 3\nWhy $x {y}\n  now?")
    assert isinstance(result, Sweep) and result.complete and len(result) == 8
    assert {post.body["prompt"] for post in say.server.posts} == {"Why $x {y}\n  now?"}
    assert "Diversity" in say.printed and "8 of 8 answers" in say.printed


def test_the_result_is_kept_in_a_variable(say: Say) -> None:
    """-o NAME, as with %%chatglm."""
    result = say("%%chatglm_sweep -o colours temperature=0.1\nName one.")
    assert say.shell.user_ns["colours"] is result
    assert "can't be a variable's name" in str(say("%%chatglm_sweep -o 1x temperature=0.1\nName one."))


def test_variables_are_inserted_and_nothing_is_evaluated(say: Say) -> None:
    """{{name}} as in %%chatglm; --raw leaves it."""
    say.shell.user_ns["thing"] = "a tree"
    say("%%chatglm_sweep temperature=0.1\nDraw {{thing}} {{1+1}}")
    say("%%chatglm_sweep temperature=0.1 --raw\nDraw {{thing}}")
    assert [p.body["prompt"] for p in say.server.posts] == ["Draw a tree {{1+1}}", "Draw {{thing}}"]


def test_a_dry_run_prints_and_sends_nothing(say: Say) -> None:
    """Requests and tokens."""
    assert "6 requests" in say("%%chatglm_sweep --dry-run temperature=0.1,0.5 max_token=10 -n 3\nx")
    assert "At most 60 tokens" in say.printed and say.server.posts == []


def test_more_than_two_hundred_requests_need_a_yes(say: Say) -> None:
    """200 are asked, 201 are refused before anything is sent; --yes asks them."""
    refused = say("%%chatglm_sweep seed=1:201:201\nx")
    assert isinstance(refused, CommandError) and "send 201 requests" in str(refused) and "--yes" in str(refused)
    assert say.server.posts == []
    assert len(say("%%chatglm_sweep seed=1:200:200\nx")) == 200
    assert len(say("%%chatglm_sweep seed=1:201:201 --yes\nx")) == 201


def test_resume_by_name_asks_for_what_is_missing(say: Say) -> None:
    """A variable, alone or with more samples; or a file."""
    say("%%chatglm_sweep temperature=0.1,0.5 -o r\nx")
    say.shell.user_ns["r"].cells[0].turns[0] = None
    result = say("%chatglm_sweep --resume r")
    assert result is say.shell.user_ns["r"] and result.complete and len(say.server.posts) == 3
    assert "-j needs the prompt too" in str(say("%chatglm_sweep --resume r -j 1"))
    more = say("%%chatglm_sweep temperature=0.1,0.5 -n 2 --resume r -o more\nx")
    assert len(more) == 4 and len(say.server.posts) == 5
    more.save("more.jsonl")
    again = say("%%chatglm_sweep temperature=0.1,0.5,0.9 -n 2 --resume more.jsonl\nx")
    assert len(again) == 6 and len(say.server.posts) == 7


@pytest.mark.parametrize(
    ("cell", "kind", "says"),
    [
        ("%%chatglm_sweep temperature=0.1 --resume nothing\nx", ChatGLMError, "does not exist"),
        ("%%chatglm_sweep temperature=0.1 --resume get_ipython\nx", ChatGLMError, "isn't a sweep"),
        ("%chatglm_sweep temperature=0.1", CommandError, "below the line (see %chatglm_sweep --help)"),
        ("%%chatglm_sweep -n 1000000\nx", ParameterError, "100,000 is the most"),
        ("%%chatglm_sweep -j " + "9" * 30 + "\nx", CommandError, "expected a positive whole number"),
        ("%%chatglm_sweep temperature=0.1,99\nx", ParameterError, "temperature must be"),
        ("%%chatglm_sweep temprature=0.1\nx", ParameterError, "Did you mean temperature"),
        ("%%chatglm_sweep api_key=abcdef\nx", CommandError, "a key does not belong"),
        ("%%chatglm_sweep model=sk-0123456789abcdef0123\nx", CommandError, "a key does not belong"),
    ],
)
def test_mistakes_are_errors_in_one_line_and_send_nothing(say: Say, cell: str, kind: type, says: str) -> None:
    """Run All stops at them."""
    error = say(cell)
    assert isinstance(error, kind) and says in str(error) and "\n" not in str(error)
    assert say.server.posts == []


def test_help_is_that_of_the_question_mark(say: Say) -> None:
    """--help prints what %%chatglm_sweep? shows."""
    assert "top_p=0.5:0.9:5" in say("%chatglm_sweep --help") and say.server.posts == []


def test_the_conversation_does_not_see_the_sweep(say: Say) -> None:
    """Neither before nor after."""
    say("%chatglm before")
    say("%%chatglm_sweep temperature=0.1,0.5\nx")
    say("%chatglm after")
    assert say.server.posts[-1].body["history"] == [["before", "before 0.1"]]
    assert [turn.prompt for turn in get_session().turns] == ["before", "after"]


def test_an_interrupted_cell_keeps_the_result_in_its_variable(say: Say) -> None:
    """The interrupt goes on as one, so that Run All stops."""
    import _thread

    say.server.scripts[:] = [legacy(lambda body: "x"), hang()]

    def interrupt() -> None:
        wait_until(lambda: (found := say.shell.user_ns["r"]) is not None and found.progress.done)
        _thread.interrupt_main()

    say("r = None")
    striking = threading.Thread(target=interrupt)
    striking.start()
    error = say("%%chatglm_sweep -o r temperature=0.1,0.5 --jobs 1\nx")
    striking.join()
    result = say.shell.user_ns["r"]
    assert isinstance(error, Interrupted) and "1 of 2" in str(error)
    assert not result.running and [turn.status for turn in result] == ["complete"]


def test_a_mistake_is_shown_as_one_line(say: Say) -> None:
    """No traceback of ours, as with every other magic; in Python it is there in full."""
    assert say("%%chatglm_sweep temperature=\nx").__class__ is CommandError
    assert say.printed.strip().splitlines()[-1].startswith("CommandError: the values of temperature")
    assert "Traceback" not in say.printed
    say("from chatglm_magic import sweep\nsweep('x', temperature=[99])")
    assert "Traceback" in say.printed


class Terminal(io.StringIO):
    """Keeps what is written to it, and stands for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_tells_how_far_it_is_in_one_line(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time over all that stood there before: nothing of a longer line is left."""
    told = Terminal()
    monkeypatch.setattr(sys, "stderr", told)
    say.shell.run_cell("%%chatglm_sweep seed=1:40:40 -j 1\nx")
    lines = told.getvalue().rstrip("\n").split("\r")[1:]
    assert lines[-1].rstrip() == "40 of 40 answers" and len(set(map(len, lines))) == 1


def test_a_quiet_lens_is_a_value_that_is_not_shown(say: Say) -> None:
    """``x = %chatglm_lens -q`` keeps it, a cell of it alone shows nothing; without -q it is the cell's value."""
    with ScriptedServer(ANSWER) as server:
        say(f"%config ChatGLMSettings.endpoint_url = '{server.url}v1'")
        assert say("x = %chatglm_lens -q Hi?\nlen(x)") == 2 and say.printed.count("positions") == 0
        say("%chatglm_lens -q Hi?")
        assert "positions" not in say.printed
        say("%chatglm_lens Hi?")
        assert "2 positions" in say.printed and say.shell.user_ns["_"].text == "Hi you"
