"""README, notebooks, Binder and the other documents hold what they promise."""

from __future__ import annotations

import ast
import getpass
import importlib.util
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import chatglm_magic
from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.client.timeouts import Timeouts

from .test_layers import MAY_IMPORT

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
RUN = (*READMES, *PAGES)
"""Documents whose code blocks are run."""
PAIRS = {"README.md": "README.zh-CN.md"} | {f"docs/{Path(page).name}": page for page in PAGES if "/zh/" in page}
"""Each English document that has a Chinese one."""
DOCUMENTS = (*RUN, "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
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


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Return a document's code blocks, each with its language; of some languages, or all."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)
    return [(language, code) for language, code in found if not languages or language in languages]


def cells(language: str, code: str) -> list[str]:
    """Return the cells that a block stands for: magics a line each, without the explanation behind two blanks."""
    if language == "python" or code.startswith("%%"):
        return [code]
    return [re.split(r" {2,}|　", line)[0] for line in code.splitlines()]


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


@pytest.mark.parametrize("name", RUN)
def test_a_documents_prompts_are_promised(name: str) -> None:
    """Whatever a page tells people to send, the model is tested on."""
    in_code = {prompt for _, block in blocks(TEXTS[name], "python") for prompt in prompts_in_code(block)}
    assert prompts(TEXTS[name]) | in_code <= PROMISED
    assert len(blocks(TEXTS[name])) * 2 == len(re.findall("^```", TEXTS[name], re.M)), "a block without a language"


def test_the_documents_have_prompts_to_try() -> None:
    """So that the test of them does not pass for want of any."""
    assert all(len(prompts(TEXTS[name])) >= 4 for name in READMES)
    python = [block for name in RUN for _, block in blocks(TEXTS[name], "python")]
    assert len(python) > 25 and len({p for block in python for p in prompts_in_code(block)}) > 10


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


@pytest.fixture
def shell(
    shared_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """A shell in a folder of its own, in which nobody types a key; the extension and its server go with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "")
    shared_shell.run_line_magic("load_ext", "chatglm_magic")
    yield shared_shell
    if isinstance(server := shared_shell.user_ns.get("server"), LocalServer):
        server.stop()
    shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    shared_shell.reset(new_session=False)


@pytest.mark.parametrize("name", RUN)
def test_a_documents_code_runs(name: str, shell: InteractiveShell) -> None:
    """The blocks run one after the other, as in a notebook, and print what the comments behind them say."""
    for language, code in blocks(TEXTS[name], "text", "python"):
        for cell in cells(language, code):
            with capture_output() as caught:
                result = shell.run_cell(cell)
            assert result.success, (cell, caught.stdout[-500:], result.error_in_exec)
            for said in re.findall(r"^ *print\(.*\)  # (.+)$", cell, re.M):
                assert f"{said}\n" in caught.stdout, cell


@pytest.mark.parametrize("name", RUN)
def test_commands_are_python_programs_of_ours(name: str) -> None:
    """Each line of a shell block makes the environment, or runs a module that exists."""
    for _, code in blocks(TEXTS[name], "sh"):
        for module in re.findall(r"python -m ([\w.]+)", code):
            assert importlib.util.find_spec(f"{module}.__main__"), code
        assert re.match(r"(python3 -m venv \.venv && )?\.venv/bin/", code), code


def test_the_magics_of_the_table_exist_and_none_is_missing() -> None:
    """The table of magics is the list of magics, in both languages with the same options."""
    from chatglm_magic.magics.magics import ChatGLMMagics

    registered = {name for kind in ChatGLMMagics.magics.values() for name in kind}
    rows, chinese = (
        [re.findall(r"`([^`]+)`", row[0]) for row in tables(text) if row[0].startswith("`%")]
        for text in (TEXTS["docs/magics.md"], TEXTS["docs/zh/magics.md"])
    )
    assert {row[0].split()[0].strip("%") for row in rows} == registered
    assert rows == chinese


def servers(text: str) -> list[list[str]]:
    """Return the rows of a table of servers."""
    return [row for row in tables(text) if "`http" in row[1]]


ON_THE_PAGE = {
    *("DashScope", "SiliconFlow", "OpenRouter", "LiteLLM", "SGLang", "ChatGLM2", "ChatGLM3", "GLM-4", "Ollama"),
    *("CHATGLM_MAGIC_RENDER", "jupyter console", "NO_PROXY".lower(), "top_logprobs", "do_sample"),
}


@pytest.mark.row("H32")
@pytest.mark.parametrize("name", ["docs/servers.md", "docs/zh/servers.md"])
def test_the_servers_page_says_what_was_tried(name: str) -> None:
    """Each server with its limits; where it wasn't tried the row says so, else with which version."""
    text = TEXTS[name]
    assert [word for word in ON_THE_PAGE if word not in text] == []
    tried = re.findall(r"(?:Tried with|已用) [^|]*?\d+(?:\.\d+)*", text)
    assert len(tried) == 4 and len(re.findall(r"Not tried\.|尚未试过。", text)) == 4


def name_sets(rows: list[list[str]]) -> Counter[frozenset[str]]:
    """Return what each row has between back quotes; a row that refers to another one has less, and is left out."""
    rows = [row for row in rows if not re.search("api.z.ai|bigmodel", row[1])]
    return Counter(frozenset(re.findall("`[^`]+`", " ".join(row))) for row in rows)


@pytest.mark.row("H32")
def test_both_languages_know_the_same_servers() -> None:
    """Each with the same address, and with the same names of fields and keys beside it."""
    english, chinese = servers(TEXTS["docs/servers.md"]), servers(TEXTS["docs/zh/servers.md"])
    assert Counter(row[1] for row in english) == Counter(row[1] for row in chinese) and len(english) == 13
    assert name_sets(english) == name_sets(chinese)


@pytest.mark.parametrize("row", servers(TEXTS["docs/servers.md"]), ids=lambda row: row[0])
def test_thinking_is_sent_as_the_table_says(row: list[str]) -> None:
    """The keys of the request are those of the table."""
    llm = ChatGLM(endpoint_url=row[1].strip("`"), model="glm-5.2", thinking="high")
    keys = {"thinking", "reasoning_effort", "chat_template_kwargs", "enable_thinking", "reasoning"}
    sent = llm.plan("x").sent.keys() & keys
    assert sent == set(re.findall(r"`(\w+)`", row[4]))


def test_both_readmes_have_the_same_two_commands() -> None:
    """To try it and to test it; and each leads to the other."""
    found = [re.findall(r"^python3 -m venv .*$", text, re.M) for text in (README, CHINESE)]
    assert found[0] == found[1] and len(found[0]) == 2
    assert "(README.zh-CN.md)" in README[:200] and "(README.md)" in CHINESE[:200]


@pytest.mark.parametrize("name", PAIRS.values())
def test_chinese_is_set_as_chinese(name: str) -> None:
    """Full-width punctuation after Chinese characters, and blanks between them and Latin text."""
    prose = re.sub(r"`[^`\n]+`", "`x`", re.sub(r"```.*?```", "", TEXTS[name], flags=re.S))
    assert re.findall(r"[\u4e00-\u9fff][A-Za-z0-9`]|[A-Za-z0-9`][\u4e00-\u9fff]", prose) == []
    assert re.findall(r"[\u4e00-\u9fff*][,;:?!()]", re.sub(r"\]\([^)]*\)", "", prose)) == []


FOR_CHINESE_READERS = {
    "pip config set global.index-url https://pypi.tuna.tsinghua.edu.cn/simple",
    "pip install jupyterlab-language-pack-zh-CN",
    "%chatglm_serve FILE.gguf",
    "OWNER/NAME",
    "%env HF_ENDPOINT=镜像地址",
    "api.py",
    "ChatGLM3",
    "max_token",
    "max_tokens",
    "/v1/chat/completions",
}


@pytest.mark.parametrize(("english", "chinese"), PAIRS.items(), ids=PAIRS)
def test_both_languages_name_the_same_things(english: str, chinese: str) -> None:
    """Whatever one page quotes as code, the other does; a few things are for Chinese readers alone."""
    quoted = [
        set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXTS[n], flags=re.S))) for n in (english, chinese)
    ]
    prompts_apart = {name for name in quoted[0] ^ quoted[1] if "python -m chatglm_magic" in name}
    assert quoted[0] - quoted[1] - prompts_apart == set()
    assert quoted[1] - quoted[0] - prompts_apart <= FOR_CHINESE_READERS


def test_the_public_names_are_there() -> None:
    """Every exported name can be imported, and the list is the one that is written down."""
    assert set(chatglm_magic.__all__) == {
        *("Answer", "ChatGLM", "LocalServer", "Session", "Turn", "__version__", "errors", "get_session", "panel"),
        *("history_viewer", "sweep", "Sweep", "lens", "Lens", "GLMChatModel"),
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
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), target
        assert not heading or heading in heading_links(path.read_text(encoding="utf-8"))
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
    """Sizes and seconds of SECURITY.md, and the seconds of the pages on servers."""
    from chatglm_magic.client.async_client import MAX_HEADER_BYTES
    from chatglm_magic.client.request import MAX_ERROR_BODY_BYTES
    from chatglm_magic.server.guard import MAX_REQUEST_BYTES
    from chatglm_magic.wire.body import MAX_BODY_BYTES

    rows = [row[1] for row in tables(TEXTS["SECURITY.md"])[1:]]
    seconds = asdict(Timeouts())
    assert (
        rows[0].startswith(f"{MAX_BODY_BYTES >> 20} MiB")
        and f"JSON of at most {MAX_REQUEST_BYTES >> 20} MiB" in TEXTS["SECURITY.md"]
    )
    assert rows[1] == f"{MAX_HEADER_BYTES >> 10} KiB each" == f"{MAX_ERROR_BODY_BYTES >> 10} KiB each"
    assert rows[3:] == [f"{seconds[name]:g} s" for name in ("connect", "first_byte", "idle", "content", "total")]
    for text, marks in ((TEXTS["docs/servers.md"], " ()"), (TEXTS["docs/zh/servers.md"], "（）")):
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


def test_at_most_ten_runtime_dependencies() -> None:
    """Each dependency earns its place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= 10


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
