"""Fast streams into a cell and a panel; ``python -m tests.flood`` does so for a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from .. import flood
from ..support.kernel_requests import point_at
from ..support.pages import Page
from ..support.scale import choose_count
from ..support.servers import ScriptedServer

pytestmark = pytest.mark.heavy


@pytest.mark.row("D15")
@pytest.mark.parametrize("into", [flood.into_cell, flood.into_panel], ids=["cell", "panel"])
def test_two_thousand_tokens_a_second(tmp_path: Path, into: flood.Into) -> None:
    """At most twelve updates in any second, all messages no more than 20 answers, and the final text exact."""
    sent = flood.Flood(choose_count(2, 4))
    with ScriptedServer(sent) as server, Page(tmp_path) as page:
        point_at(page, server)
        figures = into(page, sent)
        assert figures.good, figures
