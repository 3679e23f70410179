"""Fast streams into a cell and a panel."""

from __future__ import annotations

from pathlib import Path

import pytest

from .. import flood


def test_D15_two_thousand_tokens_a_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At most twelve updates in any second, and the text is whole, in a cell and in a panel."""
    assert flood.run(4, tmp_path), capsys.readouterr().out


def test_D16_the_bytes_of_a_growing_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the whole text for every token: all messages together are at most 20 times the answer."""
    assert flood.run(2, tmp_path)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert float(line.split(", ")[-1].split()[0]) <= 20, line
