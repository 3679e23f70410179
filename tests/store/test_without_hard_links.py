"""An export onto a disk that has no hard links, as FAT, exFAT and many network shares have none."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the system call is refused by a filter of Linux's, and these are the numbers of two processors",
)

REFUSE = '''
import ctypes, errno, os, platform, struct

def refuse_links():
    """Have the kernel refuse this process link() and linkat(), with the error that FAT gives."""
    numbers = {"x86_64": (86, 265), "aarch64": (37, 37)}[platform.machine()]
    load, equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (equal, 1, 0, numbers[0]), (equal, 0, 1, numbers[1])]
    code += [(give, 0, 0, 0x00050000 | errno.EPERM), (give, 0, 0, 0x7FFF0000)]
    table = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(table)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, with_filter = 38, 22, 2
    assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    assert libc.prctl(seccomp, with_filter, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        os.link("turns.jsonl", "a link")
    except PermissionError as error:
        assert error.errno == errno.EPERM
    else:
        raise AssertionError("this disk has hard links after all")
'''

EXPORT = """
import json
from pathlib import Path
from chatglm_magic.errors import CommandError
from chatglm_magic import safe_files as files
from chatglm_magic.store.imports import read_turns
from chatglm_magic.store import Store, History, Query

store = Store(Path("history.sqlite"))
store.add(read_turns("turns.jsonl"))
history = History(store, Query())
refuse_links()

def export(path, **options):
    try:
        print(history.export(path, **options).name)
    except CommandError as error:
        print(error)

def pieces():
    yield "ours"
    Path("taken.md").write_text("another program's")

export("out.jsonl")
export("out.jsonl")
Path("out.jsonl").write_text("old")
export("out.jsonl", force=True)
try:
    files.write_atomically(files.resolve_target("taken.md"), pieces())
except CommandError as error:
    print(error)
store.close()
"""


def test_an_export_needs_no_hard_links(tmp_path: Path) -> None:
    """The file is whole and private, a file that is there or appears meanwhile stays, nothing else is left."""
    turns = '{"prompt": "hi", "answer": "你好", "status": "complete"}\n'
    (tmp_path / "turns.jsonl").write_text(turns, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", REFUSE + EXPORT], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second, forced, meanwhile = done.stdout.splitlines()
    assert first == forced == "out.jsonl"
    assert "already exists" in second and "taken.md can't be written: File exists" in meanwhile
    out = tmp_path / "out.jsonl"
    assert '"answer": "你好"' in out.read_text() and out.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "taken.md").read_text() == "another program's"
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith("history.sqlite")}
    assert left == {"turns.jsonl", "out.jsonl", "taken.md"}
