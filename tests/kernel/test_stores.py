"""Two kernels and one store, as of two notebooks that are open at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..support import stored_turns
from ..support.pages import Page
from ..support.servers import ScriptedServer, legacy

pytestmark = pytest.mark.heavy

TURNS = int(os.environ.get("CHATGLM_SOAK_TURNS", "250"))
"""Of each kernel; ``.ci/soak`` asks 5 000."""

ASK = "for n in range({turns}): get_session().ask(f'{name}{{n}}')"


@pytest.mark.row("F1")
def test_two_kernels_write_into_one_store(tmp_path: Path) -> None:
    """Every turn of both is there, whole, in its own conversation, in the order it was asked."""
    with (
        ScriptedServer(legacy(lambda body: f"Re: {body['prompt']}")) as server,
        Page(tmp_path) as one,
        Page(tmp_path) as two,
    ):
        kernels = {"a": one, "b": two}
        for page in kernels.values():
            page.run(f"get_session().settings.endpoint_url = {server.url!r}")
            page.run("get_session().settings.with_history = False")
        sent = [page.send(ASK.format(turns=TURNS, name=name)) for name, page in kernels.items()]
        for page, message in zip(kernels.values(), sent, strict=True):
            assert page.wait(message, 900).error is None
    turns = stored_turns.load_turns(tmp_path)
    assert len(turns) == 2 * TURNS and len({turn.conversation for turn in turns}) == 2
    for name in kernels:
        mine = [turn for turn in turns if turn.prompt.startswith(name)]
        assert [turn.prompt for turn in mine] == [f"{name}{n}" for n in range(TURNS)]
        assert all(turn.status == "complete" and turn.answer == f"Re: {turn.prompt}" for turn in mine)
