"""A cell while it is typed: when a terminal takes it to be complete, and what the magics leave behind."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from chatglm_magic.magics.input_transforms import PROMPT_MAGICS, transform_cell

from .support.servers import ScriptedServer, legacy


@pytest.mark.parametrize("name", PROMPT_MAGICS)
def test_a_prompt_of_several_lines_is_not_complete_until_a_blank_one(shell: InteractiveShell, name: str) -> None:
    """A terminal would otherwise send the first line alone, or nothing."""
    state = {
        f"%%{name}": "incomplete",
        f"%%{name} -t 0.5": "incomplete",
        f"%%{name}\nWhat is love?": "incomplete",
        f"%%{name}\nWhat is love?\nAnd why?": "incomplete",
        f"%%{name}\nWhat is love?\n\n": "complete",
        f"%{name} What is love?": "complete",
    }
    assert {cell: shell.check_complete(cell)[0] for cell in state} == state


def test_what_is_typed_after_other_magics_is_as_ipython_has_it(shell: InteractiveShell) -> None:
    """Only ours are taken as typed; a name that begins like one of ours is another's."""
    for line in (
        "%chatglm_configure x?",
        "%%chatglmx\n>>> 1",
        "%timeit 1",
        "x = 1",
        "%chatglm?",
        "%%chatglm?",
        "",
    ):
        lines = line.splitlines(keepends=True)
        assert transform_cell(list(lines)) == lines
    assert transform_cell(["\n", "%%chatglm -t 1\n", ">>> a?\n"]) == [
        "get_ipython().run_cell_magic('chatglm', '-t 1', '>>> a?\\n')\n"
    ]


@pytest.mark.parametrize("blank", [" ", "\t", "\u3000"])
def test_a_full_width_blank_is_a_blank(shell: InteractiveShell, blank: str) -> None:
    """Behind the magic, as Chinese keyboards type it."""
    with ScriptedServer(legacy("ok")) as server:
        shell.run_cell(f"%config ChatGLMSettings.endpoint_url = '{server.url}'")
        with capture_output():
            shell.run_cell("%chatglm_config store=off")
            assert shell.run_cell(f"%chatglm{blank}你好?").success
            assert shell.run_cell(f"%%chatglm{blank}\n你好?\n").success
        assert [post.body["prompt"] for post in server.posts] == ["你好?", "你好?"]


def test_unloading_takes_the_transformers_out(shell: InteractiveShell) -> None:
    """Loaded twice there is one of each; unloaded there is none, and again it is put first."""

    def count() -> tuple[int, int]:
        manager = shell.input_transformer_manager
        ours = [item for item in manager.token_transformers if item.__module__.startswith("chatglm_magic")]
        return len(ours), sum(item is transform_cell for item in shell.input_transformers_cleanup)

    assert count() == (1, 1)
    shell.run_line_magic("load_ext", "chatglm_magic")
    assert count() == (1, 1) and shell.input_transformers_cleanup[0] is transform_cell
    shell.run_line_magic("unload_ext", "chatglm_magic")
    assert count() == (0, 0)
    shell.run_line_magic("load_ext", "chatglm_magic")
    assert count() == (1, 1)
