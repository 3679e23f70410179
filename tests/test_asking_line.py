"""What %chatglm makes of its options: what a dry run shows of a key, and what is sent along."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from pydantic import SecretStr

from chatglm_magic import get_session

from .support.servers import ScriptedServer, legacy


@pytest.fixture
def server(shared_shell: InteractiveShell) -> Iterator[ScriptedServer]:
    """A server that a shell with the extension asks."""
    shared_shell.run_line_magic("load_ext", "chatglm_magic")
    with ScriptedServer(legacy(lambda body: body["prompt"].upper())) as server:
        get_session().settings.endpoint_url, get_session().settings.store = server.url, "off"
        yield server
    shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    shared_shell.reset(new_session=False)


def run(shell: InteractiveShell, cell: str) -> str:
    """Run a cell; return what it printed."""
    with capture_output() as caught:
        assert shell.run_cell(cell).success
    return str(caught.stdout)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("sk-1", "…"),
        ("sk-15-letters-x", "…"),
        ("sk-16-letters-xy", "…s-xy"),
        ("sk-one-of-22-letters-x", "…rs-x"),
    ],
)
def test_a_dry_run_shows_the_last_letters_of_a_long_key_alone(
    shared_shell: InteractiveShell, server: ScriptedServer, key: str, shown: str
) -> None:
    """Of one below 16 letters nothing; of another header's value no more; and nothing is sent."""
    get_session().llm.api_key = SecretStr(key)
    get_session().llm.headers = {"X-Other": SecretStr(key), "Accept-Language": SecretStr("zh")}
    lines = run(shared_shell, "%chatglm --dry-run hi").splitlines()
    assert f"Authorization: Bearer {shown}" in lines and f"X-Other: {shown}" in lines
    assert "Accept-Language: zh" in lines and not any(key in line for line in lines)
    assert server.posts == []


def test_a_question_without_history_neither_sees_nor_joins_the_conversation(
    shared_shell: InteractiveShell, server: ScriptedServer
) -> None:
    """--no-history; -H, and no option, are the conversation; --no-log keeps nothing."""
    for cell in ("a", "--no-history b", "-H c", "--no-log d", "e"):
        run(shared_shell, f"%chatglm {cell}")
    first, second, last = ["a", "A"], ["c", "C"], ["e", "E"]
    assert [post.body["history"] for post in server.posts] == [[], [], [first], [first, second], [first, second]]
    assert get_session().llm.history == [first, second, last]
    assert [turn.prompt for turn in get_session().turns] == ["a", "b", "c", "e"]
    assert "history" not in run(shared_shell, "%chatglm --dry-run --no-history x").replace('"history": []', "")
