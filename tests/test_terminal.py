"""``%chatglm`` in a terminal's IPython, and one question from a shell."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatglm_magic import Session
from chatglm_magic.render.views import TerminalView

from .support.panels import wait_until
from .support.servers import ScriptedServer, answer, chunk, sse


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal")
@pytest.mark.parametrize("line", ["%chatglm hi", "x = %chatglm hi", "x", "print(x)", "_"])
def test_each_evaluation_in_a_terminal(line: str) -> None:
    """Counted on the screen: one text for each evaluation."""
    import pexpect

    with ScriptedServer(answer("你", "好")) as server:
        shell = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor", "--ext", "chatglm_magic"],
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 200),
        )
        shell.expect(r"In \[1\]: ")
        shell.sendline(f"%config ChatGLMSettings.endpoint_url='{server.url}v1'")
        shell.expect(r"In \[2\]: ")
        shell.sendline("x = %chatglm -q before")
        shell.expect(r"In \[3\]: ")
        shell.sendline("x" if line == "_" else "1")
        shell.expect(r"In \[4\]: ")
        shell.sendline(line)
        shell.expect(r"In \[5\]: ")
        assert shell.before.count("你好") == 1, shell.before
        shell.close()


def test_all_that_came_is_written_while_the_server_pauses() -> None:
    """Three pieces come at once, and then nothing for long: the third stands there, not only the first."""
    hold, stream = threading.Event(), io.StringIO()
    with ScriptedServer(answer("one ", "two ", "three", hold=hold)) as server, ThreadPoolExecutor() as pool:
        session = Session()
        session.settings.endpoint_url = f"{server.url}v1"
        asked = pool.submit(session.ask, "hi", view=TerminalView(stream))
        try:
            wait_until(lambda: stream.getvalue() == "one two three", "the third piece")
        finally:
            hold.set()
        assert asked.result() == "one two three" and stream.getvalue() == "one two three\n"
        session.close()


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal")
def test_a_terminal_counts_the_wait_for_the_first_token() -> None:
    """On a line that the answer takes the place of."""
    import pexpect

    hold = threading.Event()
    with ScriptedServer(sse([chunk("hello there", finish_reason="stop")], hold=hold)) as server:
        code = (
            "from chatglm_magic import Session; from chatglm_magic.render.views import TerminalView\n"
            f"s = Session(); s.settings.endpoint_url = '{server.url}v1'; s.ask('hi', view=TerminalView())"
        )
        shell = pexpect.spawn(sys.executable, ["-c", code], encoding="utf-8", timeout=60)
        shell.expect("\rWaiting for the first token… 1 s")
        shell.expect("\rWaiting for the first token… 2 s")
        hold.set()
        shell.expect(r"\r +\rhello there\r\n")
        shell.expect(pexpect.EOF)
        shell.close()
    assert shell.exitstatus == 0


def test_one_question_from_a_shell() -> None:
    """python -m chatglm_magic PROMPT starts the local server, streams the answer and leaves nothing behind."""
    pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')
    done = subprocess.run(
        [sys.executable, "-m", "chatglm_magic", "What is love?"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Love is") and "glm-tiny" in done.stdout.splitlines()[-1]
    bad = subprocess.run(
        [sys.executable, "-m", "chatglm_magic", "--model", "/nowhere.gguf", "hi"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert bad.returncode == 1 and bad.stderr.startswith("ServeError: ") and len(bad.stderr.splitlines()) == 1
