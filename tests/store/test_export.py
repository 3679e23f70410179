"""Taking turns away: where a file may go, that it is whole, private and inert, and that it comes back."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chatglm_magic import safe_files as files
from chatglm_magic.errors import CommandError
from chatglm_magic.store import History, Query, Store
from chatglm_magic.store.imports import read_turns

from ..support.hostile import ANSWERS, arm
from ..support.markup import TAGS
from ..support.stores import CONVERSATION, make_turn, open_store
from .test_store import FULL

HOSTILE = [answer.text for answer in arm(ANSWERS, "http://127.0.0.1:9")]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """Three turns, and an empty folder to write to, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with open_store(tmp_path / "h.sqlite") as store:
        for at, name in enumerate("abc"):
            store.put(make_turn(f"prompt {name}", f"answer {name}"), at)
        yield History(store, Query(conversation=CONVERSATION))


@pytest.mark.parametrize("name", ["out.jsonl", "OUT.MD", "输出.html", "a.csv", ".hidden.jsonl"])
def test_the_ending_names_the_form(name: str, history: History) -> None:
    """Each form holds every turn, and the path that comes back is where it is."""
    path = history.export(name)
    assert path == Path.cwd() / name
    text = path.read_text(encoding="utf-8")
    assert all(f"prompt {one}" in text and f"answer {one}" in text for one in "abc")


@pytest.mark.parametrize("name", ["out", "out.txt", "out.ipynb", "out.jsonl.gz", ".jsonl"])
def test_another_ending_is_refused(name: str, history: History) -> None:
    """Nothing is written, and the message names the endings there are."""
    with pytest.raises(CommandError, match=r"\.jsonl, \.md, \.html, \.csv"):
        history.export(name)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.row("F7")
def test_a_relative_path_stays_in_the_current_folder(history: History) -> None:
    """``..`` leads out only if the whole path is written; inside it may go up and down."""
    (Path.cwd() / "sub").mkdir()
    for name in ("../out.jsonl", "sub/../../out.jsonl", "sub/../../here2/out.jsonl"):
        with pytest.raises(CommandError, match="outside the current folder"):
            history.export(name)
    assert history.export("sub/../in.jsonl") == Path.cwd() / "in.jsonl"
    assert history.export("sub/in.jsonl").is_file()
    outside = Path.cwd().parent / "out.jsonl"
    assert history.export(str(outside)) == outside and outside.is_file()
    assert history.export(Path.cwd() / "sub" / ".." / "whole.jsonl").is_file()


@pytest.mark.row("F7")
def test_a_link_out_of_the_folder_is_none_for_a_relative_path(history: History) -> None:
    """A folder that is a link to elsewhere counts as elsewhere."""
    elsewhere = Path.cwd().parent / "elsewhere"
    elsewhere.mkdir()
    (Path.cwd() / "link").symlink_to(elsewhere)
    with pytest.raises(CommandError, match="outside the current folder"):
        history.export("link/out.jsonl")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.row("F7")
def test_the_home_folder_is_meant_by_a_tilde(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the home folder; one of nobody is told, not made."""
    home = Path.cwd().parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert history.export("~/out.jsonl") == home / "out.jsonl"
    with pytest.raises(CommandError, match="home folder"):
        history.export("~nobody-of-that-name/out.jsonl")


@pytest.mark.row("F7")
@pytest.mark.parametrize("force", [False, True])
def test_links_are_never_followed(force: bool, history: History) -> None:
    """Writing through a link works with ``open`` (the control); the export leaves it and its end as they are."""
    victim = Path.cwd() / "victim"
    link = Path.cwd() / "out.jsonl"
    link.symlink_to(victim)
    link.write_text("precious")
    assert victim.read_text() == "precious"
    with pytest.raises(CommandError, match="is a link"):
        history.export("out.jsonl", force=force)
    victim.unlink()
    with pytest.raises(CommandError, match="is a link"):  # also one that leads nowhere
        history.export("out.jsonl", force=force)
    assert not victim.exists() and link.is_symlink()


@pytest.mark.row("F7")
def test_a_file_that_is_there_needs_force(history: History) -> None:
    """It is left as it is, or replaced as a whole: another name of the same file keeps the old text."""
    path = Path.cwd() / "out.jsonl"
    path.write_text("old")
    os.link(path, path.with_name("other name"))
    with pytest.raises(CommandError, match="--force"):
        history.export("out.jsonl")
    assert path.read_text() == "old"
    history.export("out.jsonl", force=True)
    assert len(path.read_text().splitlines()) == 3
    assert path.with_name("other name").read_text() == "old"


WRONG = {
    "": "isn't a file name",
    "  ": "isn't a file name",
    "a\0.jsonl": "isn't a file name",
    "..": "is a folder",
    "sub": "is a folder",
    "sub/": "is a folder",
    "sub/..": "is a folder",
    "missing/out.jsonl": "no folder missing",
    "file/out.jsonl": "no folder file",
    "pipe.jsonl": "isn't a regular file",
    "CON.jsonl": "device on Windows",
    "nul": "device on Windows",
    "sub/com1.tar.jsonl": "device on Windows",
    "Lpt9 .md": "device on Windows",
    "x" * 300 + ".jsonl": "255 bytes",
    "爱" * 90 + ".jsonl": "255 bytes",
    "/".join(["x" * 200] * 30) + "/a.jsonl": "File name too long",
}


@pytest.mark.row("F7")
@pytest.mark.parametrize("name", WRONG, ids=[repr(name)[:20] for name in WRONG])
@pytest.mark.parametrize("force", [False, True])
def test_names_that_can_not_be_written(name: str, force: bool, history: History) -> None:
    """Each is refused in one line, with or without force, and nothing is made."""
    (Path.cwd() / "sub").mkdir()
    (Path.cwd() / "file").write_text("a file")
    os.mkfifo(Path.cwd() / "pipe.jsonl")
    with pytest.raises(CommandError, match=WRONG[name]) as caught:
        history.export(name, force=force)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert {path.name for path in Path.cwd().iterdir()} == {"sub", "file", "pipe.jsonl"}


@pytest.mark.row("F7")
def test_a_folder_of_a_files_name_is_left(history: History) -> None:
    """A folder is not replaced, not even an empty one with force."""
    (Path.cwd() / "out.jsonl").mkdir()
    with pytest.raises(CommandError, match="is a folder"):
        history.export("out.jsonl", force=True)
    assert (Path.cwd() / "out.jsonl").is_dir()


@pytest.mark.row("F7")
def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """A file that appears while an export is written stays, and the export leaves nothing behind."""
    path = files.resolve_target(tmp_path / "out.jsonl")

    def pieces() -> Iterator[str]:
        yield "one\n"
        path.write_text("somebody else's")

    with pytest.raises(CommandError, match="exists"):
        files.write_atomically(path, pieces())
    assert path.read_text() == "somebody else's" and [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.row("F5")
def test_an_export_that_fails_is_absent(tmp_path: Path) -> None:
    """If writing breaks off, neither the name nor the part is there, and an older file is still the old one."""
    path = tmp_path / "out.jsonl"

    def pieces() -> Iterator[str]:
        yield "one\n" * 100_000
        assert len(list(tmp_path.glob(".*.part"))) == 1
        raise RuntimeError("broke off")

    with pytest.raises(RuntimeError):
        files.write_atomically(path, pieces())
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with pytest.raises(RuntimeError):
        files.write_atomically(path, pieces(), force=True)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.row("F5")
def test_a_disk_that_takes_no_more_is_one_line(tmp_path: Path) -> None:
    """An error of the disk is told with the file's name; nothing is left."""
    with pytest.raises(CommandError, match=r"out\.jsonl can't be written: No space left") as caught:
        files.write_atomically(tmp_path / "out.jsonl", full_disk())
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def full_disk() -> Iterator[str]:
    """Write to the device that is always full."""
    yield "one\n"
    with open("/dev/full", "w") as device:
        device.write("x")


@pytest.mark.row("S28")
@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_an_export_is_its_owners_alone_from_the_start(history: History) -> None:
    """Without a umask ``open`` makes a file for all (the control); an export is 0600 while it is written too."""
    before = os.umask(0)
    try:
        (Path.cwd() / "plain").write_text("x")
        assert (Path.cwd() / "plain").stat().st_mode & 0o777 == 0o666
        for force in (False, True):
            assert history.export("out.jsonl", force=force).stat().st_mode & 0o777 == 0o600
        seen = []

        def pieces() -> Iterator[str]:
            yield "x"
            seen.extend(path.stat().st_mode & 0o777 for path in Path.cwd().glob(".*.part"))

        files.write_atomically(Path.cwd() / "other", pieces())
        assert seen == [0o600]
    finally:
        os.umask(before)


def test_a_round_trip_through_json_lines(history: History, tmp_path: Path) -> None:
    """What is exported and imported into another store is the same turns in the same places, surrogates too."""
    history.store.put(replace(FULL, asked={"stop": ["\ud83d"]}), 1)
    history.store.put(make_turn("other", conversation="0" * 12), 0)
    path = history.all.export("out.jsonl")
    with open_store(tmp_path / "other.sqlite") as other:
        assert other.add(read_turns(path)) == 5
        for name in (CONVERSATION, "0" * 12):
            query = Query(conversation=name)
            assert [row.turn for row in other.find(query)] == [row.turn for row in history.store.find(query)]
        assert other.add(read_turns(path)) == 0 and other.count(Query()) == 5


def test_json_lines_are_in_the_conversations_order(history: History) -> None:
    """Also when the newest is shown first, or a turn was asked late for an early place; only what was chosen."""
    history.store.put(make_turn("before all"), -1)
    history.store.put(make_turn("other", conversation="0" * 12), 0)

    def written(chosen: History) -> list[str]:
        path = chosen.export("out.jsonl", force=True)
        return [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]

    assert written(history.sort("newest")) == ["before all", "prompt a", "prompt b", "prompt c"]
    assert written(history.all) == ["before all", "prompt a", "prompt b", "prompt c", "other"]
    assert written(history.all.search("prompt").filter(text="a prompt")) == ["prompt a"]
    assert written(history.filter(ids=())) == []


def test_markdown_shows_a_prompt_as_it_was_typed(history: History) -> None:
    """A prompt that holds fences is in a longer fence; the answer stands there in its own Markdown."""
    history.store.put(make_turn("```python\nx = 1\n```\n````", "**bold**", system="be brief", reasoning="hm"), 3)
    text = history.export("out.md").read_text(encoding="utf-8")
    assert "`````text\n```python\nx = 1\n```\n````\n`````" in text and "\n**bold**\n" in text
    assert "be brief" in text and "hm" in text and "## 4 · 2025-06-01" in text


class Page(HTMLParser):
    """What a page has that it may not have."""

    MORE = frozenset(
        ("html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "h3", "details", "summary")
    )

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.text = ""
        self.policy = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in TAGS | self.MORE:
            self.wrong.append(f"<{tag}>")
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values.get("content") or ""
        for name, value in attrs:
            if name.startswith("on") or name in ("src", "srcset", "id", "name", "background", "poster", "action"):
                self.wrong += [] if tag == "meta" else [f"{tag} {name}"]
            if name == "href" and not (value or "").startswith(("http://", "https://", "mailto:")):
                self.wrong.append(f"href={value}")
            if "url(" in (value or "") or "@import" in (value or ""):
                self.wrong += [] if name == "href" else [f"{name}={value}"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_judge_of_pages_sees_what_it_looks_for() -> None:
    """The control: each of these is found."""
    for bad in (
        "<script>x</script>",
        "<p onclick=x>",
        "<img src=x>",
        "<a href=javascript:x>",
        "<p style='a:url(x)'>",
    ):
        assert Page(bad).wrong


def test_a_page_reads_from_first_to_last_under_a_title(history: History) -> None:
    """Whatever order the list has. The title is the first prompt; each of several conversations has its own."""
    text = history.sort("newest").export("out.html").read_text(encoding="utf-8")
    assert "<title>prompt a</title>" in text and "<h1>prompt a</h1>" in text and "<h2>" not in text
    assert [text.index(f">prompt {name}<") for name in "abc"] == sorted(text.index(f">prompt {n}<") for n in "abc")
    assert re.findall(r"<h3>(\d) · \d{4}-\d\d-\d\d \d\d:\d\d\b", text) == ["1", "2", "3"]
    history.store.put(make_turn("other", conversation="0" * 12), 0)
    text = history.all.sort("newest").export("all.html").read_text(encoding="utf-8")
    assert "<h1>ChatGLM history</h1>" in text and re.findall("<h2>(.*)</h2>", text) == ["prompt a", "other"]


@pytest.mark.row("S7")
def test_an_exported_page_is_inert(history: History) -> None:
    """Every hostile text, in each field of a turn, leaves tags and attributes of ours alone, and is there as text;
    the page's own policy lets nothing load or run."""
    for at, text in enumerate(HOSTILE):
        made = make_turn(text, text, reasoning=text, system=text, model=text, created=text[:60], error=text)
        history.store.put(replace(made, status=("complete", "incomplete")[at % 2]), 3 + at)
    path = history.export("out.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.wrong == [] and page.policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert page.text.count("window.__pwned=1") > 100
    assert path.read_bytes().startswith(b'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')


SIGNS = "=+-@＝＋－＠"
BLANKS = ("", " ", "\u00a0", "\u3000", " \u200b\ufeff", '"')
FORMULAS = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x","y")', "＝1+1", "＠x"),
    *(f"{before}{blank}{sign}cmd|' /C calc'!A0" for before in ("", "x;", "x\t", "x|", "x\n") for blank in BLANKS
      for sign in SIGNS),
]  # fmt: skip


def read_formulas(page: str, separator: str) -> list[str]:
    """Return the cells that a spreadsheet would calculate, where it takes a character for the separator."""
    cells = [cell for row in csv.reader(io.StringIO(page, newline=""), delimiter=separator) for cell in row]
    return [cell for cell in cells if cell.lstrip("".join(BLANKS) + "\t\r\n").startswith(tuple(SIGNS))]


@pytest.mark.row("F10", "X10")
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_of_a_table_is_a_formula(history: History, separator: str) -> None:
    """Cells that a spreadsheet would calculate begin with an apostrophe, whatever it takes for the separator; the
    control is the same text without it."""
    control = io.StringIO()
    csv.writer(control).writerows([text, text] for text in FORMULAS)
    assert len(read_formulas(control.getvalue(), separator)) > 40
    for at, text in enumerate(FORMULAS):
        history.store.put(make_turn(text, text, reasoning=text, model=text), 3 + at)
    page = history.export("out.csv").read_text(encoding="utf-8-sig")
    assert read_formulas(page, separator) == []


def test_a_table_keeps_what_is_no_formula(history: History) -> None:
    """Other texts and figures are as they are, in quotation marks; the file begins as Excel wants it."""
    history.store.put(make_turn("a-b = c; d", "x, -1", asked={"temperature": -1.5}), 3)
    path = history.export("out.csv")
    row = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))[-1]
    assert (row["prompt"], row["answer"], row["temperature"]) == ("a-b = c; d", "x, -1", "-1.5")
    assert path.read_bytes().startswith(b'\xef\xbb\xbf"conversation",')


def test_an_empty_history_is_an_empty_file(tmp_path: Path) -> None:
    """Every form of no turns is written, and there is no line in the one with lines."""
    with open_store(None) as store:
        for ending in (".jsonl", ".md", ".html", ".csv"):
            assert History(store).export(tmp_path / f"out{ending}").is_file()
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_an_export_reads_a_store_of_many_turns_page_by_page(tmp_path: Path) -> None:
    """More turns than one page holds are all written, once and in order."""
    store = Store(None)
    store.add([(make_turn(f"{at}"), at) for at in range(501)])
    path = History(store).export(tmp_path / "out.jsonl")
    written = [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert written == [str(at) for at in range(501)]


@pytest.mark.row("X9")
def test_a_linked_folder_is_followed_where_the_whole_path_is_written(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SECURITY.md says: a path that is written whole may lead through a link, as /tmp does on a Mac; one under
    the present folder may not leave it by one, and the file itself is never a link."""
    real, here = tmp_path / "real", tmp_path / "present"
    real.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "linked").symlink_to(real)
    assert history.export(here / "linked" / "out.jsonl") and (real / "out.jsonl").is_file()
    with pytest.raises(CommandError, match="is outside the current folder"):
        history.export("linked/relative.jsonl")
    (here / "file.jsonl").symlink_to(real / "other.jsonl")
    with pytest.raises(CommandError, match="is a link"):
        history.export(here / "file.jsonl")
    assert not (real / "relative.jsonl").exists() and not (real / "other.jsonl").exists()
