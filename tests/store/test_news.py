"""What a store has to tell people: each thing once, until it was read."""

from __future__ import annotations

from pathlib import Path

from chatglm_magic.store import Query, Store
from chatglm_magic.store.pending import BufferedDatabase

from ..support.stores import make_turn


def test_the_same_words_are_told_once() -> None:
    """However often there is reason to; others are told beside them, in their order."""
    database = BufferedDatabase(None)
    for words in ("a", "b", "a", "b"):
        database.notify(words)
    assert database.notices == ["a", "b"]


def test_news_are_read_once(tmp_path: Path) -> None:
    """Where turns are kept is told after the first one, and not again by the same file."""
    path = tmp_path / "h.sqlite"
    store = Store(path)
    assert store.take_notices() == []
    store.put(make_turn(), 0)
    store.put(make_turn(), 1)
    (told,) = store.take_notices()
    assert str(path) in told and "store=off" in told
    store.close()
    assert len(store.find(Query())) == 2 and store.take_notices() == []
    store.close()
