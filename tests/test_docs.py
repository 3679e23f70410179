"""README, notebooks, Binder and the other documents hold what they promise."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
import pytest

import chatglm_magic
from chatglm_magic import ChatGLM
from chatglm_magic.client.timeouts import Limits

from .test_layers import MAY_IMPORT

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
DOCUMENTS = (*READMES, "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
README, CHINESE = (TEXTS[name] for name in READMES)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LISTS = tomllib.loads((ROOT / "training/corpus/promised.toml").read_text(encoding="utf-8"))
PROMISED = {*LISTS["prompts"], *LISTS["follow_ups"]}
ASKING = {
    "invoke",
    "ainvoke",
    "stream",
    "astream",
    "batch",
    "abatch",
    "map",
    "generate",
    "agenerate",
    "ask",
    "sweep",
}


WRONG = {"hi"}
"""What is asked where nobody answers."""


def prompts(text: str) -> set[str]:
    """Return what is asked of the built-in model in cells or lines of text."""
    option = r"--?\w+ +[\d.]+ +|-o +\w+ +|-q +|--no-history +"
    found = re.findall(rf"^(?:\w+ = )?%chatglm(?:_lens)? +(?:{option})*([^\s{{%-].*?)(?:  .*)?$", text, re.M)
    found += re.findall(r"^%%chatglm.*\n((?:.+\n?)+)", text)
    found += re.findall(r"-m chatglm_magic \"([^\"]+)\"", text)
    return {prompt.strip() for prompt in found if "{{" not in prompt} - {"PROMPT"}


def blocks(text: str) -> list[str]:
    """Return the Python blocks of a document."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def prompts_in_code(code: str) -> set[str]:
    """Return the texts that Python code asks a model, and the lists of questions it gives a name."""
    asked: list[ast.expr] = []
    for node in ast.walk(ast.parse(code)):
        called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and called in ASKING:
            asked += node.args
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "questions":
            asked.append(node.value)
    for node in list(asked):
        if isinstance(node, ast.List):
            asked += node.elts
    return {node.value for node in asked if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def tables(text: str) -> list[list[str]]:
    """Return the cells of each row of a document's tables."""
    return [line.strip("| ").split(" | ") for line in re.findall(r"^\| .*\|$", text, re.M)]


@pytest.mark.parametrize("name", READMES)
def test_the_readmes_prompts_are_promised(name: str) -> None:
    """Whatever a README tells people to ask, the model is tested on."""
    in_lines = prompts(TEXTS[name])
    in_code = {prompt for block in blocks(TEXTS[name]) for prompt in prompts_in_code(block)}
    assert len(in_lines) >= 4 and len(in_code) >= 5 and len(blocks(TEXTS[name])) == TEXTS[name].count("```python")
    assert in_lines | in_code <= PROMISED


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebooks_prompts_are_promised(path: Path) -> None:
    """Whatever a notebook asks, the model is tested on."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    found = {prompt for source in code for prompt in prompts(source)}
    found |= {prompt for source in code if "%" not in source for prompt in prompts_in_code(source)} - WRONG
    assert len(found) >= 5
    assert found <= PROMISED


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_saved_as_it_should_be(path: Path) -> None:
    """Outputs are saved, at most one cell is not compared, and nothing of the recording machine is inside."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ignored = [cell for cell in code if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(ignored) <= 1
    assert all(cell.execution_count for cell in code) and sum(bool(cell.outputs) for cell in code) >= len(code) / 2
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work)/|sk-[A-Za-z0-9]{8}|NBVAL_IGNORE", text)


@pytest.mark.parametrize("name", READMES)
def test_the_readmes_python_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks run one after the other, as in a notebook, and print what the comments behind them say."""
    names: dict[str, Any] = {"__name__": name}

    async def run(code: str) -> None:
        made = eval(compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307
        if inspect.isawaitable(made):
            await made

    async def run_all() -> None:
        for code in blocks(TEXTS[name]):
            await run(code)
            printed = capsys.readouterr().out
            for said in re.findall(r"^ *print\(.*\)  # (.+)$", code, re.M):
                assert f"{said}\n" in printed

    try:
        asyncio.run(run_all())
    finally:
        names["server"].stop()


def test_the_readmes_magics_exist_and_none_is_missing() -> None:
    """The table of magics is the list of magics, in both languages with the same options."""
    from chatglm_magic.magics.magics import ChatGLMMagics

    registered = {name for kind in ChatGLMMagics.magics.values() for name in kind}
    rows, chinese = (
        [re.findall(r"`([^`]+)`", row[0]) for row in tables(text) if row[0].startswith("`%")]
        for text in (README, CHINESE)
    )
    assert {row[0].split()[0].strip("%") for row in rows} == registered
    assert rows == chinese


def servers(text: str) -> dict[str, list[str]]:
    """Return the rows of a README's table of servers, by address and by what ``thinking`` becomes."""
    return {f"{row[1]} {''.join(re.findall('`[^`]+`', row[4]))}": row for row in tables(text) if "`http" in row[1]}


def test_both_readmes_know_the_same_servers() -> None:
    """Each with the same address, and with the same names of fields and keys beside it."""
    english, chinese = servers(README), servers(CHINESE)
    assert english.keys() == chinese.keys() and len(english) == 8
    for key, row in english.items():
        if key.startswith("`https://api.z.ai"):  # one of the two says "as the other"
            continue
        other = chinese[key] if "bigmodel" not in key else row
        assert set(re.findall("`[^`]+`", " ".join(row))) == set(re.findall("`[^`]+`", " ".join(other)))


@pytest.mark.parametrize("row", servers(README).values(), ids=lambda row: row[0])
def test_thinking_is_sent_as_the_table_says(row: list[str]) -> None:
    """The keys of the request are those of the table."""
    if row[0] == "transformers serve":  # where it must be left unset
        return
    llm = ChatGLM(endpoint_url=row[1].strip("`"), model="glm-5", thinking="high")
    sent = llm.plan("x").sent.keys() & {"thinking", "reasoning_effort", "chat_template_kwargs"}
    assert sent == set(re.findall(r"`(\w+)`", row[4]))


def test_both_readmes_have_the_same_two_commands() -> None:
    """To try it and to test it; and each leads to the other."""
    found = [re.findall(r"^python3 -m venv .*$", text, re.M) for text in (README, CHINESE)]
    assert found[0] == found[1] and len(found[0]) == 2
    assert "(README.zh-CN.md)" in README[:200] and "(README.md)" in CHINESE[:200]


def test_chinese_is_set_as_chinese() -> None:
    """Full-width punctuation after Chinese characters, and blanks between them and Latin text."""
    prose = re.sub(r"`[^`\n]+`", "`x`", re.sub(r"```.*?```", "", CHINESE, flags=re.S))
    assert re.findall(r"[\u4e00-\u9fff][A-Za-z0-9`]|[A-Za-z0-9`][\u4e00-\u9fff]", prose) == []
    assert re.findall(r"[\u4e00-\u9fff*][,;:?!()]", re.sub(r"\]\([^)]*\)", "", prose)) == []


def test_the_public_names_are_there() -> None:
    """Every exported name can be imported, and the list is the one that is written down."""
    assert set(chatglm_magic.__all__) == {
        *("Answer", "ChatGLM", "LocalServer", "Session", "Turn", "__version__", "errors", "get_session", "panel"),
        *("history_viewer", "sweep", "Sweep", "lens", "Lens"),
        *("load_ipython_extension", "unload_ipython_extension"),
    }
    for name in chatglm_magic.__all__:
        assert getattr(chatglm_magic, name) is not None
    with pytest.raises(AttributeError):
        _ = chatglm_magic.nothing


def heading_links(text: str) -> set[str]:
    """Return the names under which a document's headings can be linked."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Files that a document points at exist, and their headings too; nothing names the place it was written at."""
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", TEXTS[name]):
        assert (ROOT / target).exists(), target
        assert not heading or heading in heading_links(TEXTS[target or name])
    assert not re.search(r"/(home|root|tmp|work)/", TEXTS[name])


@pytest.mark.row("S37")
def test_the_trust_model_is_five_lines() -> None:
    """SECURITY.md says in five points who is trusted with what."""
    section = TEXTS["SECURITY.md"].split("## The trust model")[1].split("## ")[0]
    points = re.findall(r"^\d\. (.+)", section, re.M)
    assert len(points) == 5
    for word in ("untrusted", "server", "kernel", "key"):
        assert any(word in point for point in points), word


def test_the_limits_are_those_of_the_code() -> None:
    """Sizes and seconds of SECURITY.md, and the seconds of both READMEs."""
    from chatglm_magic.client.async_client import HEADER_BYTES
    from chatglm_magic.client.request import REFUSAL_BYTES
    from chatglm_magic.server.guard import MAX_BODY
    from chatglm_magic.wire.body import LIMIT

    rows = [row[1] for row in tables(TEXTS["SECURITY.md"])[1:]]
    seconds = asdict(Limits())
    assert (
        rows[0].startswith(f"{LIMIT >> 20} MiB")
        and f"JSON of at most {MAX_BODY >> 20} MiB" in TEXTS["SECURITY.md"]
    )
    assert rows[1] == f"{HEADER_BYTES >> 10} KiB each" == f"{REFUSAL_BYTES >> 10} KiB each"
    assert rows[3:] == [f"{seconds[name]:g} s" for name in ("connect", "first_byte", "idle", "content", "total")]
    for text, marks in ((README, " ()"), (CHINESE, "（）")):
        found = re.findall(rf"`(\w+)`{re.escape(marks[:-1])}(\d+){re.escape(marks[-1])}", text)
        assert {name: float(number) for name, number in found if name in seconds} == seconds


def test_the_changelog_knows_this_version() -> None:
    """Keep a Changelog's shape, newest first, with the version that the package has."""
    text = TEXTS["CHANGELOG.md"]
    first = re.findall(r"^## \[(.+)\].*\n+(.*)", text, re.M)[0]
    assert first[0] == "Unreleased" and chatglm_magic.__version__ in first[1]
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= allowed


def test_contributing_names_what_there_is() -> None:
    """Its files exist, its rooms are those of the layers' table, its line length is the one in force."""
    text = TEXTS["CONTRIBUTING.md"]
    for path in re.findall(r"`(?:\.venv/bin/python )?([\w./-]+/[\w.-]*)`", text):
        assert (ROOT / path).exists(), path
    rooms = [re.findall(r"`(\w+)`", row[0]) for row in tables(text.split("## Rooms")[1])]
    assert {name for row in rooms for name in row} == set(MAY_IMPORT)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"at most {project['tool']['ruff']['line-length']} characters" in text


def test_binder_starts_what_the_readme_describes() -> None:
    """One folder, no root requirements, the package itself installed, an executable postBuild."""
    assert not (ROOT / ".binder").exists() and not (ROOT / "requirements.txt").exists()
    assert (ROOT / "binder/requirements.txt").read_text().split() == [".[local,lab]"]
    assert re.fullmatch(r"python-3\.1[1-4]\n", (ROOT / "binder/runtime.txt").read_text())
    assert (ROOT / "binder/postBuild").stat().st_mode & 0o111


def test_at_most_nine_runtime_dependencies() -> None:
    """Each dependency earns its place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= 9


def read_promises(text: str) -> list[str]:
    """Return the lines of SECURITY.md that promise something: its list items, and the rows of its table."""
    body = text.split("## Reporting")[0].splitlines()
    rows = [line for line in body if line.startswith("| ") and not line.startswith("| what |")]
    return [line for line in body if re.match(r"\* |\d+\. ", line)] + rows


def has_test(name: str) -> bool:
    """Tell whether a file of tests defines a function, as in ``tests/test_docs.py::has_test``."""
    path, _, function = name.partition("::")
    return bool(re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))


def test_each_line_of_security_has_the_tests_that_hold_it() -> None:
    """``tests/promises.toml`` names every line of SECURITY.md once, and tests that exist, or why there is none."""
    entries = tomllib.loads((ROOT / "tests/promises.toml").read_text(encoding="utf-8"))["line"]
    lines = read_promises(TEXTS["SECURITY.md"])
    assert len(lines) > 40
    found = {line: [entry["begins"] for entry in entries if line.startswith(entry["begins"])] for line in lines}
    assert [line[:60] for line, begins in found.items() if len(begins) != 1] == []
    assert {begins[0] for begins in found.values()} == {entry["begins"] for entry in entries}
    assert [entry["begins"] for entry in entries if not entry["tests"] and not entry.get("why")] == []
    assert [name for entry in entries for name in entry["tests"] if not has_test(name)] == []
