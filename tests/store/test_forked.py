"""A forked child and its parent's file: each has a connection of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..support.stores import list_prompts, open_store, run_code

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

OPENS = """
import os, sys, warnings
from pathlib import Path
import psutil
from chatglm_magic.store import Query, Store
from tests.support.stores import make_turn as turn
warnings.simplefilter("ignore", DeprecationWarning)

path = Path(sys.argv[1])
store = Store(path)
store.put(turn("parent"), 0)

def places():
    return {file.fd for file in psutil.Process().open_files() if file.path == str(path)}

before = places()
assert before
child = os.fork()
if child == 0:
    found = [row.turn.prompt for row in store.find(Query())]
    store.put(turn("child"), 1)
    mine = places()
    print(found, before <= mine, len(mine - before) > 0, flush=True)
    store.close()
    print(before <= places(), flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert places() == before
store.put(turn("after"), 2)
print([row.turn.prompt for row in store.find(Query())], places() == before)
"""


def test_a_child_opens_the_file_itself_and_leaves_its_parents_connection_alone(tmp_path: Path) -> None:
    """It reads and writes over descriptors of its own and closes no other; the parent goes on as before."""
    child, closed, parent = run_code(OPENS, tmp_path / "h.sqlite").splitlines()
    assert child == "['parent'] True True", "the child wrote over a connection of its own"
    assert closed == "True", "it closed none of its parent's"
    assert parent == "['parent', 'child', 'after'] True"
    with open_store(tmp_path / "h.sqlite") as store:
        assert list_prompts(store) == ["parent", "child", "after"]


NEWS = """
import os, sys, warnings
from pathlib import Path
from chatglm_magic.store import Store
from tests.support.stores import make_turn as turn
warnings.simplefilter("ignore", DeprecationWarning)

store = Store(Path(sys.argv[1]))
store.put(turn("parent"), 0)
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        store.put(turn("grandchild"), 2)
        os._exit(len(store.take_notices()) + 10)
    store.put(turn("child"), 1)
    grand = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
    os._exit(grand + len(store.take_notices()))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(store.take_notices()), len(store.take_notices()))
"""


def test_what_people_must_know_is_told_by_the_parent_alone(tmp_path: Path) -> None:
    """Where turns are kept is told once, whoever was forked meanwhile, a child of a child too."""
    assert run_code(NEWS, tmp_path / "h.sqlite") == "10 1 0\n"
    with open_store(tmp_path / "h.sqlite") as store:
        assert sorted(list_prompts(store)) == ["child", "grandchild", "parent"]
