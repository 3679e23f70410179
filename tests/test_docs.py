"""README, notebooks and Binder hold what they promise."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat
import pytest

import chatglm_magic

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LISTS = tomllib.loads((ROOT / "training/corpus/promised.toml").read_text(encoding="utf-8"))
PROMISED = {*LISTS["prompts"], *LISTS["follow_ups"]}


def prompts(text: str) -> set[str]:
    """Return what is asked of the built-in model in cells or lines of text."""
    found = re.findall(
        r"^(?:\w+ = )?%chatglm +(?:-\w+ +[\d.]+ +|-q +|--no-history +)*([^\s{%-].*?)(?:  .*)?$", text, re.M
    )
    found += re.findall(r"^%%chatglm.*\n((?:.+\n?)+)", text)
    found += re.findall(r"-m chatglm_magic \"([^\"]+)\"", text)
    return {prompt.strip() for prompt in found if "{{" not in prompt} - {"PROMPT"}


def test_the_readmes_prompts_are_promised() -> None:
    """Whatever README tells people to ask, the model is tested on."""
    found = prompts(README)
    assert {"What is love?", "What is temperature?"} <= found
    assert found <= PROMISED


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebooks_prompts_are_promised(path: Path) -> None:
    """Whatever a notebook asks, the model is tested on."""
    cells = nbformat.read(path, as_version=4).cells
    found = {prompt for cell in cells if cell.cell_type == "code" for prompt in prompts(cell.source)}
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


def test_the_readmes_magics_exist_and_none_is_missing() -> None:
    """The table of magics is the list of magics."""
    from chatglm_magic.magics.magics import ChatGLMMagics

    registered = set(ChatGLMMagics.magics["line"]) | set(ChatGLMMagics.magics["cell"])
    assert set(re.findall(r"^\| `%(\w+)", README, re.M)) == registered


def test_the_public_names_are_there() -> None:
    """Every exported name can be imported, and the list is the one that is written down."""
    assert set(chatglm_magic.__all__) == {
        *("Answer", "ChatGLM", "LocalServer", "Session", "Turn", "__version__", "errors", "get_session", "panel"),
        *("load_ipython_extension", "unload_ipython_extension"),
    }
    for name in chatglm_magic.__all__:
        assert getattr(chatglm_magic, name) is not None
    with pytest.raises(AttributeError):
        _ = chatglm_magic.nothing


def test_the_readmes_python_runs() -> None:
    """The block under "In Python" does what it shows."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - our own text


def test_links_lead_somewhere() -> None:
    """Files that README and SECURITY point at exist."""
    for name in ("README.md", "SECURITY.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), target


def test_S37_the_trust_model_is_five_lines() -> None:
    """SECURITY.md says in five points who is trusted with what."""
    section = (ROOT / "SECURITY.md").read_text(encoding="utf-8").split("## The trust model")[1].split("## ")[0]
    points = re.findall(r"^\d\. (.+)", section, re.M)
    assert len(points) == 5
    for word in ("untrusted", "server", "kernel", "key"):
        assert any(word in point for point in points), word


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
