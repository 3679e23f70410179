"""What people see in a terminal: answers that stream, formats, a sweep's progress, lenses, turns, a typed key."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .support.answer_formats import PIECES, PLAIN, TEXT, WHOLE
from .support.logprobs import ANSWER
from .support.servers import Script, ScriptedServer, answer, by_body, chunk, hang, sse

if TYPE_CHECKING:
    import pexpect

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal")

PROMPT = r"In \[\d+\]: "
SWEEP = "%%chatglm_sweep temperature=0.1,0.9 --jobs 1"


class Terminal:
    """One IPython in a pseudo-terminal, with the extension loaded."""

    def __init__(self, home: str) -> None:
        import pexpect

        arguments = ["--no-banner", "--simple-prompt", "--colors=NoColor", "--ext", "chatglm_magic"]
        self.shell: pexpect.spawn = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", *arguments],
            encoding="utf-8",
            timeout=30,
            dimensions=(50, 200),
            env={**os.environ, "CHATGLM_MAGIC_HOME": home, "IPYTHONDIR": home},
        )
        self.shell.expect(PROMPT)

    def type(self, *lines: str) -> None:
        """Type the lines of a cell."""
        for line in lines:
            self.shell.sendline(line)
            self.shell.expect_exact(line)  # its echo
        for _ in range(2 * (len(lines) > 1)):  # a cell ends with two empty lines
            self.shell.sendline("")
            self.shell.expect_exact("...: \r\n")

    def until(self, text: str) -> str:
        """Wait until a text is on the screen; return what came before it."""
        self.shell.expect_exact(text)
        return str(self.shell.before)

    def end(self) -> str:
        """Wait for the next prompt; return what came before it, each line end as one character."""
        self.shell.expect(PROMPT)
        return str(self.shell.before).replace("\r\n", "\n").strip("\n")

    def run(self, *lines: str) -> str:
        """Run a cell; return what it has written."""
        self.type(*lines)
        return self.end()

    def at(self, server: ScriptedServer) -> None:
        """Begin a new conversation with a server."""
        self.run("%chatglm_history --reset")
        self.run(f"%config ChatGLMSettings.endpoint_url='{server.url}v1'")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """An IPython that the tests of this file share."""
    home = tmp_path_factory.mktemp("home")
    terminal = Terminal(str(home))
    with ScriptedServer(answer("ok")) as server:
        terminal.at(server)
        assert f"Turns are saved to {home}" in terminal.run("%chatglm -q first"), "it is said once"
    yield terminal
    terminal.shell.close(force=True)


def held(hold: threading.Event) -> Script:
    """Stream the first part of the answer, and the rest once ``hold`` is set."""
    return sse([*map(chunk, PIECES), chunk(None, finish_reason="stop")], hold=hold)


def test_an_answer_streams(terminal: Terminal) -> None:
    """Its beginning is on the screen before the server has sent its end; the whole stands there once."""
    hold = threading.Event()
    with ScriptedServer(held(hold)) as server:
        terminal.at(server)
        terminal.type("%chatglm hi")
        terminal.until(PIECES[0].strip())
        hold.set()
        rest = terminal.end()
        assert TEXT.replace("\n", "") == PIECES[0].strip() + rest.partition("Out[")[0].replace("\n", "")
        assert "test-glm" in rest.partition("Out[")[2], "the footer is the cell's value"


@pytest.mark.parametrize("form", [form for form in PLAIN if form != "rich"])
def test_each_format(terminal: Terminal, form: str) -> None:
    """The answer in that form, once."""
    with ScriptedServer(answer(*PIECES)) as server:
        terminal.at(server)
        shown = terminal.run(f"%chatglm -f {form} Show me.").partition("Out[")[0]
        assert shown.strip() == PLAIN[form].strip()


WRITES = """
class Log:
    encoding = "utf-8"
    def __init__(self): self.texts = []
    def write(self, text): self.texts.append(text)
    def flush(self): pass
from contextlib import redirect_stdout
def writes(line):
    with redirect_stdout(Log()) as log:
        get_ipython().run_line_magic("chatglm", line)
    return log.texts
"""


@pytest.mark.parametrize("form", PLAIN)
def test_no_stream_writes_an_answer_once(terminal: Terminal, form: str) -> None:
    """With --no-stream all is written at once, as is what needs the whole answer; otherwise part by part."""
    with ScriptedServer(answer(*PIECES, pause=0.05)) as server:
        terminal.at(server)
        terminal.run(f"exec({WRITES!r})")
        assert terminal.run(f"print(len(writes('--no-stream -f {form} hi')))") == "1"
        assert (terminal.run(f"print(len(writes('-f {form} hi')))") == "1") == (form in WHOLE)


@pytest.mark.parametrize("options", ["", "--no-stream", "-f json"])
def test_without_a_server_there_is_one_line(terminal: Terminal, options: str) -> None:
    """The error is the last line, and no empty answer stands above it."""
    terminal.run("%config ChatGLMSettings.endpoint_url='http://127.0.0.1:9/v1'")
    *before, last = terminal.run(f"%chatglm {options} hi").splitlines()
    assert last.startswith("EndpointError: No server answers at") and "[no answer]" not in before


def test_an_interrupted_answer_says_so(terminal: Terminal) -> None:
    """Ctrl-C ends the answer within its line; the error is one line, and the next question is answered."""
    hold = threading.Event()
    with ScriptedServer(held(hold), answer("ok")) as server:
        terminal.at(server)
        terminal.type("%chatglm hi")
        terminal.until(PIECES[0].strip())
        terminal.shell.sendintr()
        shown = terminal.end()
        assert "[stopped before it was complete]" in shown
        assert "Interrupted: the answer was stopped" in shown and "Traceback" not in shown
        server.wait_closed(server.posts[0])
        assert terminal.run("%chatglm again").startswith("ok")


def colours(hold: threading.Event) -> Script:
    """Answer cold questions at once, others once ``hold`` is set."""

    def choose(body: Any) -> Script:
        if body["temperature"] < 0.5:
            return answer("red")
        return sse([chunk("blue"), chunk(None, finish_reason="stop")], hold=hold)

    return by_body(choose)


def test_a_sweep_reports_its_progress(terminal: Terminal) -> None:
    """One line says how far it is while it runs; then the cell shows the whole as text."""
    hold = threading.Event()
    with ScriptedServer(colours(hold)) as server:
        terminal.at(server)
        terminal.type(SWEEP, "Name a colour.")
        terminal.until("\r1 of 2 answers")
        hold.set()
        terminal.until("\r2 of 2 answers")
        shown = terminal.end()
        assert "2 of 2 answers" in shown and "temperature" in shown and "Explorer(" not in shown
        terminal.run("import os; os.environ['CHATGLM_MAGIC_RENDER'] = 'final'")
        shown = terminal.run(SWEEP, "Name a colour.")
        assert "\r" not in shown and shown.count("2 of 2 answers") == 1
        terminal.run("del os.environ['CHATGLM_MAGIC_RENDER']")


def test_an_interrupted_sweep_keeps_what_came(terminal: Terminal) -> None:
    """Ctrl-C stops it with one line, which says how much is kept and where."""
    with ScriptedServer(by_body(lambda body: answer("red") if body["temperature"] < 0.5 else hang())) as server:
        terminal.at(server)
        terminal.type(f"{SWEEP} -o kept", "Name a colour.")
        terminal.until("\r1 of 2 answers")
        terminal.shell.sendintr()
        shown = terminal.end()
        assert "Interrupted: the sweep was stopped: 1 of 2 answers are kept" in shown
        assert "Traceback" not in shown
        assert terminal.run("print(len(kept), kept.running)") == "1 False"


def test_a_lens_is_text(terminal: Terminal) -> None:
    """A line for each token with its candidates, of the magic and of ``lens()``; no widget's name."""
    with ScriptedServer(ANSWER) as server:
        terminal.at(server)
        for lines in (
            ["%chatglm_lens Hi?"],
            ["%%chatglm_lens", "Hi?"],
            ["__import__('chatglm_magic').lens('Hi?')"],
        ):
            shown = terminal.run(*lines)
            assert "2 positions" in shown and "Yo" in shown and "LensBox(" not in shown


def test_turns_and_status_are_text(terminal: Terminal) -> None:
    """``--show`` prints a turn with its facts, ``%chatglm`` the endpoint; what needs widgets says so."""
    with ScriptedServer(answer(*PIECES)) as server:
        terminal.at(server)
        terminal.run("%chatglm -q Show me.")
        shown = terminal.run("%chatglm_history --show 1")
        assert shown.startswith("Prompt:   Show me.\nStatus:   complete") and TEXT.strip() in shown
        assert server.url in terminal.run("%chatglm") and "<table>" not in terminal.run("%chatglm_config")
        for magic in ("%chatglm_panel", "%chatglm_history --view"):
            assert "needs a notebook" in terminal.run(magic)


def test_a_key_is_typed_unseen(terminal: Terminal) -> None:
    """``%chatglm_config api_key`` reads it without showing it; the server receives it."""
    with ScriptedServer(answer("ok")) as server:
        terminal.at(server)
        terminal.type("%chatglm_config api_key")
        terminal.until("API key (not shown, not saved): ")
        terminal.shell.waitnoecho()
        terminal.shell.sendline("sk-typed-0123456789abcdef")
        assert terminal.end() == "The key is set for this endpoint."
        terminal.run("%chatglm hi")
        assert server.posts[0].headers["authorization"] == "Bearer sk-typed-0123456789abcdef"
        terminal.run("%chatglm_config api_key=none")
