"""Security rows that hold for the tree as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import chatglm_magic

from .support.clock import is_linear
from .support.scale import choose_count
from .support.servers import ScriptedServer, legacy, reply

PACKAGE = Path(chatglm_magic.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_DISPLAYS = {"Markdown", "HTML", "Latex", "Javascript", "SVG", "Image", "IFrame"}


def unsafe_displays(source: str) -> list[str]:
    """Return calls that hand text to IPython's display classes: they read files and URLs, and run scripts."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("IPython"):
            found += [alias.name for alias in node.names if alias.name in FORBIDDEN_DISPLAYS]
    return found


@pytest.mark.row("S4")
def test_the_check_sees_what_it_looks_for() -> None:
    """The control: an import of IPython's Markdown is found."""
    assert unsafe_displays("from IPython.display import Markdown, display") == ["Markdown"]


@pytest.mark.row("S4")
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_display_class_of_ipython_is_used(path: Path) -> None:
    """Model text goes out as a raw mime bundle of our own."""
    assert unsafe_displays(path.read_text(encoding="utf-8")) == []


@pytest.mark.row("S4")
@pytest.mark.parametrize("text", ["/etc/hostname", "{url}?q=secret", "file:///etc/passwd"])
def test_an_answer_that_is_a_path_or_a_url_is_only_text(text: str, tmp_path: Path) -> None:
    """Nothing is read and nothing is asked; IPython's Markdown is the control that does both."""
    from IPython.display import Markdown

    from chatglm_magic.render.answers import mime_bundle
    from chatglm_magic.values import Turn

    with ScriptedServer(legacy(), on_get=reply("plain", kind="text/plain")) as server:
        text = text.replace("{url}", server.url)
        data, _ = mime_bundle(Turn("q", text))
        assert data["text/plain"] == text and server.asked == []
        if text.startswith("http"):
            with suppress(TypeError):  # it fetches first, and complains of bytes afterwards
                Markdown(text)
            assert len(server.asked) == 1
        elif text.startswith("/"):
            assert Markdown(text).data != text


PATTERN_FILES = [path for path in FILES if re.search(r"re\.compile\(", path.read_text(encoding="utf-8"))]
SIZE = choose_count(2**18, 2**20)
"""Characters of a hostile text."""
HOSTILE = [
    *("a" * SIZE, " " * SIZE, "\n" * SIZE, "{" * SIZE, "%" * SIZE, "-" * SIZE, "`" * SIZE, "$" * SIZE),
    *(
        "<" * SIZE,
        "<title" * (SIZE // 8),
        "{{ a" * 2**18,
        "%%chatglm " * (SIZE // 8),
        "charset=" * (SIZE // 8),
        "1 tokens) " * (SIZE // 8),
    ),
    *(
        "a=" * (SIZE // 2),
        "```json\n" * (SIZE // 8),
        "\x1b" * SIZE,
        "request (1" * (SIZE // 16),
        "passed 1 input tokens" * (SIZE // 32),
    ),
    "context length is only " * (SIZE // 32),
]


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return every compiled pattern of the package, by module and name."""
    import importlib

    found = []
    for path in PATTERN_FILES:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, re.Pattern) and isinstance(item.pattern, str):
                    found.append((f"{name}.{key}", item))
    return found


SOURCES = "".join(path.read_text(encoding="utf-8") for path in FILES)


@pytest.mark.row("S33")
@pytest.mark.parametrize(("name", "pattern"), patterns(), ids=[name for name, _ in patterns()])
def test_every_pattern_is_linear(name: str, pattern: re.Pattern[str]) -> None:
    """Long hostile text goes through each expression, as the package looks with it, in linear time."""
    searched = bool(re.search(rf"\b{name.rsplit('.')[-1]}\.(search|sub|split|findall|finditer)\(", SOURCES))
    for text in HOSTILE:
        assert is_linear(pattern.match, text[: 2**14]) and is_linear(pattern.match, text), text[:20]
        if searched:
            assert is_linear(lambda part: pattern.sub("", part), text[: 2**14]), text[:20]
            assert is_linear(lambda part: pattern.sub("", part), text), text[:20]


OFFLINE = """
import socket, sys
real, seen = socket.socket.connect, []
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(address, tuple) and host not in ("127.0.0.1", "::1"):
        seen.append(host)
        raise OSError("blocked")
    return real(self, address)
def resolve(host, *rest, **more):
    if host not in ("127.0.0.1", "localhost", "::1", None, ""):
        seen.append(host)
        raise socket.gaierror("blocked")
    return lookup(host, *rest, **more)
lookup, socket.getaddrinfo = socket.getaddrinfo, resolve
socket.socket.connect = connect
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "chatglm_magic")
shell.run_cell("%config ChatGLMSettings.endpoint_url = " + repr(sys.argv[1]))
assert shell.run_cell("%chatglm hi").result == "ok"
import chatglm_magic
chatglm_magic.panel()
if len(sys.argv) > 2:
    import urllib.request
    try: urllib.request.urlopen("http://telemetry.example/")
    except OSError: pass
shell.run_line_magic("unload_ext", "chatglm_magic")
print(seen)
"""


@pytest.mark.row("S35")
def test_nothing_is_sent_anywhere_else() -> None:
    """Import, load, a question and a panel make no connection but to the endpoint; a stray one is seen."""
    with ScriptedServer(legacy("ok")) as server:
        for extra, expected in (([], "[]"), (["stray"], "['telemetry.example']")):
            done = subprocess.run(
                [sys.executable, "-c", OFFLINE, server.url, *extra], capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-1] == expected
