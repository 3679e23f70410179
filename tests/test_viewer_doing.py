"""The history viewer: what can be done with a turn, and what becomes of it when things go wrong."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import ipywidgets as w
import pytest

from chatglm_magic import Session
from chatglm_magic.store import Query

from .support.canary import KEY, has_leaked
from .support.panels import click, set_value, visible_text, wait_until, walk_widgets
from .support.servers import ScriptedServer, answer, chunk, reply, sse
from .support.timers import HeldSleep, TrackedSession
from .support.viewers import OTHER, make_turn, open_viewer


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a store of its own, and a folder to write into."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer("fresh ", "words", usage={"prompt_tokens": 3, "completion_tokens": 9})) as started:
        yield started


def sent(server: ScriptedServer, number: int = -1) -> list[str]:
    """Return the texts of the messages of a request."""
    return [message["content"] for message in server.posts[number].body["messages"]]


# --- asking ----------------------------------------------------------------------------------------------------


def test_asking_again_takes_the_turns_place(server: ScriptedServer) -> None:
    """A turn of the present conversation is asked again in its place, with the parameters as they are now."""
    with open_viewer(server) as shown:
        for prompt in ("one", "two", "three"):
            shown.session.ask(prompt)
        wait_until(lambda: shown.prompts == ["one", "two", "three"])
        shown.session.settings.temperature = 0.33
        shown.act("again", "two")
        shown.says("Answered.")
        assert sent(server) == ["one", "fresh words", "two"]
        assert server.posts[-1].body["temperature"] == 0.33
        assert [t.prompt for t in shown.session.turns if t.status == "complete"] == ["one", "two", "three"]
        assert shown.prompts == ["one", "two", "three"]
        shown.says("temperature 0.33")
        shown.says("turn #4")
        assert shown.session.store.count(Query(status="superseded")) == 1


def test_asking_again_elsewhere_stays_outside(server: ScriptedServer) -> None:
    """A turn of another conversation is asked by itself: it sees nothing, and the next question not it."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.session.ask("mine")
        shown.says("3 turns")
        shown.act("again", "question 2")
        shown.says("Answered.")
        assert shown.box.reader.conversation == shown.session.conversation
        assert sent(server) == ["question 2"]
        shown.session.ask("mine too")
        assert sent(server) == ["mine", "fresh words", "mine too"]
        assert shown.session.store.count(Query(conversation=OTHER)) == 2


def test_a_superseded_turn_is_asked_again_outside(server: ScriptedServer) -> None:
    """Asking a turn again whose place is taken leaves the conversation as it is."""
    with open_viewer(server) as shown:
        shown.session.ask("one")
        wait_until(lambda: shown.lines == ["one"])
        shown.open("one")
        shown.act("again")
        shown.says("turn #2")
        shown.act("version", number=1)
        shown.says("status superseded")
        shown.act("again", "one")
        shown.says("turn #3")
        assert [t.id for t in shown.session.turns if t.status == "complete" and not t.outside] == [
            shown.session.turns[0].id
        ]


def test_edit_and_fork(server: ScriptedServer) -> None:
    """What becomes of a prompt is asked in a new conversation that ends before it, and is open then."""
    with open_viewer(server) as shown:
        for prompt in ("one", "two", "three"):
            shown.session.ask(prompt)
        old = shown.session.conversation
        wait_until(lambda: shown.prompts == ["one", "two", "three"])
        shown.act("edit", "two", text="二 instead")
        shown.says("Answered.")
        assert sent(server) == ["one", "fresh words", "二 instead"]
        assert shown.session.conversation != old
        assert [t.prompt for t in shown.session.turns] == ["one", "二 instead"]
        assert [row.turn.prompt for row in shown.session.store.find(Query(conversation=old))] == [
            "one",
            "two",
            "three",
        ]
        assert shown.prompts == ["one", "二 instead"]


def test_a_fork_needs_a_prompt(server: ScriptedServer) -> None:
    """An empty prompt is told of and forks nothing."""
    with open_viewer(server, make_turn(1)) as shown:
        before = shown.session.conversation
        for text in (" \n ", "", None):
            shown.act("edit", "question 1", text=text)
            shown.told("The new prompt is empty.")
        assert shown.session.conversation == before and not server.posts


def test_a_fork_waits_for_the_answer_under_way(server: ScriptedServer) -> None:
    """While an answer comes, an edited prompt is told to wait, and the conversation stays the present one."""
    hold = threading.Event()
    server.scripts[:] = [sse([chunk("a"), chunk("b", finish_reason="stop")], hold=hold), answer("later")]
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.act("again", "question 2")
        before = shown.session.conversation
        shown.act("edit", "question 2", text="other")
        shown.told("An answer is under way: wait for it, or stop it.")
        assert shown.session.conversation == before and len(shown.session.store.conversations()) <= 2
        hold.set()
        shown.settled()
        assert len(server.posts) == 1


def test_the_answer_streams_and_stops() -> None:
    """The answer grows in the viewer; Stop ends it, the server sees the close, and what had come is kept."""
    hold = threading.Event()
    slow = sse([chunk(f"word{n} ") for n in range(50)], pause=0.02, hold=hold)
    with ScriptedServer(slow) as server, open_viewer(server, make_turn(1)) as shown:
        shown.act("again", "question 1")
        shown.told("Answering…")
        shown.says("word0")
        shown.says("word9")
        shown.told("Answering…")
        assert server.posts[0].closed_at is None
        shown.click("Stop")
        server.wait_closed(server.posts[0], 2.0)
        shown.says("Stopped; what had arrived is kept.")
        shown.says("status interrupted")
        stored = shown.session.store.find(Query(status="interrupted"))
        assert len(stored) == 1 and "word9" in stored[0].turn.answer


@pytest.mark.row("D14")
def test_a_double_click_asks_once(server: ScriptedServer) -> None:
    """Clicks in a burst, and from several threads, are one question; a second one meanwhile is told to wait."""
    hold = threading.Event()
    server.scripts[:] = [sse([chunk("a"), chunk("b", finish_reason="stop")], hold=hold), answer("later")]
    with open_viewer(server, make_turn(1)) as shown:
        message = f"a{make_turn(1).id}"
        threads = [threading.Thread(target=shown.press, args=(message, "again")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shown.told("An answer is under way: wait for it, or stop it.")
        hold.set()
        shown.settled()
        assert len(server.posts) == 1
        shown.act("again", "question 1")
        shown.told("Answered.")
        assert len(server.posts) == 2


@pytest.mark.row("D14")
def test_an_edited_prompt_that_is_sent_twice_forks_once(server: ScriptedServer) -> None:
    """Two in a row are one new conversation and one question."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        message = f"q{make_turn(2).id}"
        for _ in range(2):
            shown.press(message, "edit", text="other")
        shown.settled()
        shown.told("Answered.")
        shown.press(message, "edit", text="other")  # one that had to wait
        shown.settled()
        assert len(server.posts) == 1 and len(shown.session.store.conversations()) == 2


@pytest.mark.row("D8")
def test_clicks_in_many_threads_leave_it_whole(server: ScriptedServer) -> None:
    """Paging, opening, ticking and new turns, all at once in many threads: no error, and the list is right."""
    with open_viewer(server, *(make_turn(n) for n in range(60))) as shown:
        named = {
            name: shown.named(name) for name in ("Next", "Previous", "Last", "First", "Refresh", "Select page")
        }
        lines = shown.list_lines

        def busy(number: int) -> None:
            for step in range(10):
                for button in (*named.values(), lines[(number * 7 + step) % 20].button):
                    click(button)
                set_value(lines[step % 20].checkbox, bool(step % 2))

        threads = [threading.Thread(target=busy, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for n in range(10):
            shown.session.ask(f"from a cell {n}")
        for thread in threads:
            thread.join()
        click(named["First"])
        wait_until(lambda: "1–20 of 70 turns" in shown.text, f"70 turns in {shown.text[:300]}")
        assert shown.lines == [
            *(f"from a cell {n}" for n in range(9, -1, -1)),
            *(f"question {n}" for n in range(59, 49, -1)),
        ]
        assert "Error" not in shown.text
        ticked = {row.turn.id for row in shown.session.store.find(Query(ids=tuple(shown.box.selection.ids)))}
        assert ticked == set(shown.box.selection.ids)


@pytest.mark.row("D8")
def test_no_click_is_lost_while_the_list_is_filled() -> None:
    """While one thread fills the list again and again, each of 20 ticks set in another one counts, 10 times."""
    with open_viewer(None, *(make_turn(n) for n in range(20))) as shown:
        refresh, done = shown.named("Refresh"), threading.Event()

        def fill() -> None:
            while not done.is_set():
                click(refresh)

        thread = threading.Thread(target=fill)
        thread.start()
        try:
            for _ in range(10):
                for ticked in (True, False):
                    for line in shown.list_lines:
                        set_value(line.checkbox, ticked)
                    assert len(shown.box.selection.ids) == 20 * ticked
        finally:
            done.set()
            thread.join()
        assert not any(line.checkbox.value for line in shown.list_lines)


@pytest.mark.row("D8")
def test_a_tick_that_meets_a_filling_in_the_middle_counts() -> None:
    """ipywidgets sets a value first and tells of it later; a list that is filled in between would take it back."""
    with open_viewer(None, make_turn(1)) as shown:
        (line,) = shown.list_lines
        refresh = threading.Thread(target=click, args=(shown.named("Refresh"),))

        class Slow(dict[str, object]):
            """A page's message between whose parts the list is filled, if it can be."""

            def __iter__(self) -> Iterator[str]:
                for name in super().__iter__():
                    yield name
                    refresh.start()
                    refresh.join(0.3)

        line.checkbox._handle_msg(
            {"content": {"data": {"method": "update", "state": Slow(value=True)}}, "buffers": []}
        )
        refresh.join()
        assert len(shown.box.selection.ids) == 1 and line.checkbox.value


# --- following -------------------------------------------------------------------------------------------------


def test_new_turns_appear_by_themselves(server: ScriptedServer) -> None:
    """A question asked from elsewhere stands on top of the list within a moment, in every viewer."""
    with open_viewer(server) as shown, open_viewer(server, session=shown.session) as other:
        shown.session.ask("from a cell 猫")
        for each in (shown, other):
            wait_until(lambda each=each: each.lines == ["from a cell 猫"], "the new turn")


def test_a_turn_under_way_is_listed_at_once() -> None:
    """A question asked from elsewhere stands in the list while its answer streams, and its end shows there too."""
    hold = threading.Event()
    with ScriptedServer(sse([chunk("half "), chunk("whole")], hold=hold)) as server, open_viewer(server) as shown:
        job = shown.session.submit(shown.session.aask("from a cell 猫"))
        wait_until(lambda: shown.lines == ["from a cell 猫"], "the turn under way")
        assert "incomplete" in shown.text and not job.done()
        hold.set()
        wait_until(lambda: "incomplete" not in shown.text, "its end")
        assert job.result(10) == "half whole" and shown.lines == ["from a cell 猫"]


def test_many_turns_are_one_redrawing(server: ScriptedServer) -> None:
    """Turns that end within a quarter of a second fill the list once, at its end, and the last one is there."""
    session, sleep = TrackedSession(), HeldSleep()
    with open_viewer(server, session=session, sleep=sleep) as shown:
        redrawn: list[str] = []
        (count,) = [widget for widget in shown.widgets() if isinstance(widget, w.HTML) and counts_turns(widget)]
        count.observe(lambda change: redrawn.append(visible_text(count)), names="value")
        for n in range(200):
            session.ask(f"q{n}")
            if n in (99, 199):
                wait_until(lambda: sleep.held == 1)
                assert len(redrawn) == n // 100  # none before its time
                session.wait_submitted(sleep)
                assert shown.lines[0] == f"q{n}"
        assert redrawn == ["1–20 of 100 turns", "1–20 of 200 turns"] and sleep.seconds == [0.25, 0.25]


def counts_turns(widget: w.HTML) -> bool:
    """Tell whether a part of an empty viewer says how many turns there are."""
    return visible_text(widget) == "0 turns"


def test_a_closed_viewer_follows_no_more(server: ScriptedServer) -> None:
    """Once it is closed, nothing of it changes, and the session has forgotten it."""
    with open_viewer(server) as shown:
        listeners = len(shown.session._listeners)
        shown.box.close()
        assert len(shown.session._listeners) == listeners - 1
        shown.session.ask("unseen")
        shown.box.close()


def test_a_turn_deleted_elsewhere_is_gone_here(server: ScriptedServer) -> None:
    """What another viewer deletes is no longer shown here, and can't be acted on."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.session.delete([make_turn(1).id])
        wait_until(lambda: shown.prompts == ["question 2"], "the closing")
        shown.press(f"a{make_turn(1).id}", "again")
        shown.told("That turn is no longer shown: open it again.")
        shown.session.delete([make_turn(2).id])
        wait_until(lambda: shown.prompts == [] and shown.count == "0 turns")
        assert not server.posts


# --- taking away -----------------------------------------------------------------------------------------------


def test_copy_sends_the_text_as_the_model_wrote_it() -> None:
    """The page, which has the HTML alone, gets the source of the answer that is copied."""
    with open_viewer(None, make_turn(1, answer="答案 & **b**"), make_turn(2)) as shown:
        sent: list[object] = []
        shown.box.reader.transcript.send = sent.append  # type: ignore[method-assign]
        shown.act("copy", "question 1")
        assert sent == [{"do": "copy", "text": "答案 & **b**"}]


def test_two_selected_turns_are_compared() -> None:
    """What differs between two turns is marked; what is the same in both stands there once."""
    turns = [
        make_turn(1, answer="the red cat", prompt="same", asked={"temperature": 0.1}),
        make_turn(2, answer="the blue cat 很好", prompt="same", asked={"temperature": 0.9}),
        make_turn(3, answer="the blue dog 不好", prompt="other"),
    ]
    with open_viewer(None, *turns) as shown:
        set_value(shown.named("#2"), True)
        assert shown.named("Compare").disabled
        shown.act("select", "same", selected=True)
        shown.press(f"q{turns[0].id}", "select", selected=True)
        assert not shown.named("Compare").disabled
        shown.click("Compare")
        html = shown.box.comparison.text.value
        assert marks(html) == ["0.9", "0.1", "blue", "很好", "red"] and "Prompt, the same in both" in html
        shown.click("Close comparison")
        assert "Comparison" not in shown.text and shown.prompts == ["same", "same", "other"]
        set_value(shown.named("#3"), True)
        assert shown.named("Compare").disabled
        set_value(shown.named("#2"), False)
        shown.click("Compare")
        assert marks(shown.box.comparison.text.value)[-2:] == ["red cat", "blue dog 不好"]


def marks(html: str) -> list[str]:
    """Return what is marked, in its order."""
    return [part.split("</mark>")[0] for part in html.split('">') if "</mark>" in part]


def test_delete_takes_two_clicks(server: ScriptedServer) -> None:
    """One click, or a double click, deletes nothing; the second button does, from store and memory."""
    with open_viewer(server, make_turn(1)) as shown:
        shown.session.ask("mine")
        shown.says("2 turns")
        shown.open("mine")
        for _ in range(3):
            shown.act("delete")
        assert shown.session.store.count(Query()) == 2
        shown.click("Keep")
        assert "Delete 1 turn for good" not in shown.names
        shown.act("delete")
        shown.click("Delete 1 turn for good")
        shown.says("1 turn deleted for good.")
        assert shown.lines == shown.prompts == ["question 1"]
        assert shown.session.store.count(Query()) == 1 and shown.session.turns == ()


def test_a_confirmation_is_for_what_it_named() -> None:
    """Ticking another turn, or opening one, takes a question for confirmation back."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        set_value(shown.named("#1"), True)
        shown.click("Delete…")
        assert "Delete 1 turn for good" in shown.names
        set_value(shown.named("#2"), True)
        assert not any(name.startswith("Delete 1") for name in shown.names)
        shown.click("Delete…")
        shown.click("Delete 2 turns for good")
        assert shown.session.store.count(Query()) == 0
        assert "selected" not in shown.text


def test_ticks_stay_over_pages_and_searches() -> None:
    """A tick belongs to a turn: it is there again when its page is, and others never get it."""
    with open_viewer(None, *(make_turn(n) for n in range(45))) as shown:
        set_value(shown.named("#45"), True)
        shown.click("Next")
        assert not any(line.checkbox.value for line in shown.list_lines)
        set_value(shown.named("#24"), True)
        shown.click("Previous")
        assert [line.checkbox.value for line in shown.list_lines] == [True, *[False] * 19]
        shown.says("2 turns selected")
        shown.click("Select page")
        shown.says("21 turns selected")
        shown.click("Clear selection")
        assert not any(line.checkbox.value for line in shown.list_lines)
        assert "selected" not in shown.text


@pytest.mark.parametrize("ending", ["jsonl", "md", "html", "csv"])
def test_the_ticked_turns_are_exported(own_home: Path, ending: str) -> None:
    """The file has the ticked turns and no others, in the form its ending says."""
    with open_viewer(None, *(make_turn(n, answer=f"答案{n}。") for n in range(30))) as shown:
        set_value(shown.named("#30"), True)
        shown.click("Last")
        set_value(shown.named("#1"), True)
        assert "File" not in shown.names
        shown.click("Export…")
        shown.type("File", f"mine.{ending}")
        shown.click("Export 2 turns")
        shown.says("2 turns in ")
        text = (own_home / "work" / f"mine.{ending}").read_text(encoding="utf-8")
        assert [n for n in range(30) if f"答案{n}。" in text] == [0, 29]
        if ending == "jsonl":
            assert [json.loads(line)["prompt"] for line in text.splitlines()] == ["question 0", "question 29"]


def test_without_a_tick_all_that_is_listed_is_exported(own_home: Path) -> None:
    """The search and the filters say what goes into the file, over all pages."""
    turns = [make_turn(n, prompt=f"{'猫' if n % 2 else 'dog'} {n}") for n in range(60)]
    with open_viewer(None, *turns) as shown:
        shown.find("猫", "1–20 of 30 turns found")
        shown.click("Export all…")
        shown.type("File", "cats.jsonl")
        shown.click("Export all that are listed")
        shown.says("30 turns in ")
        lines = (own_home / "work" / "cats.jsonl").read_text(encoding="utf-8").splitlines()
        assert sorted(json.loads(line)["prompt"] for line in lines) == sorted(
            t.prompt for t in turns if "猫" in t.prompt
        )


def test_an_export_that_fails_says_why(own_home: Path) -> None:
    """No name, another ending, a missing folder, a file that is there: one line each, and nothing is written."""
    there = own_home / "work" / "there.md"
    there.write_text("mine")
    with open_viewer(None, make_turn(1)) as shown:
        shown.click("Export all…")
        for name, line in {
            " ": "Export to which file?",
            "turns.exe": "must end in",
            "nowhere/x.md": "There is no folder",
            "../x.md": "is outside the current folder",
            "there.md": "already exists",
        }.items():
            shown.type("File", name)
            shown.click("Export all that are listed")
            shown.says(line)
        assert there.read_text() == "mine" and len(list((own_home / "work").iterdir())) == 1
        shown.type("replace the file if it exists", True)
        shown.click("Export all that are listed")
        shown.says("1 turn in ")
        assert "question 1" in there.read_text()


# --- faults ----------------------------------------------------------------------------------------------------


def test_a_server_that_fails_is_told_of(server: ScriptedServer) -> None:
    """An error of a question is one line in the viewer, and the turn is kept with it."""
    with open_viewer(server, make_turn(1)) as shown:
        server.scripts[:] = [reply({"error": {"message": "no such luck"}}, status=400)]
        shown.act("again", "question 1")
        shown.told("no such luck")
        assert shown.session.store.count(Query(status="error")) == 1
        server.__exit__()
        shown.act("again", "question 1")
        shown.told("No server answers at", seconds=30)


def test_only_the_last_word_stands() -> None:
    """What was said of an earlier click is gone when something is said of another one, wherever that stands."""
    with open_viewer(None, make_turn(1)) as shown:
        shown.click("Export all…")
        shown.click("Export all that are listed")
        shown.told("Export to which file?")
        shown.act("edit", "question 1", text="")
        shown.told("The new prompt is empty.")
        assert "Export to which file?" not in shown.text
        shown.type("Show", "this conversation")
        assert "The new prompt is empty." not in shown.text


class Broken(Session):
    """A session in which one thing fails as nothing should."""

    def resume(self, conversation: str | None = None) -> int:
        raise RuntimeError("a fault of no kind we know")


@pytest.mark.row("D10")
def test_no_exception_of_a_callback_is_swallowed(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw stands in the viewer, and with its name in the log; everything goes on working."""
    with open_viewer(None, make_turn(1), session=Broken()) as shown:
        shown.open("question 1")
        shown.click("Continue this conversation")
        shown.says("Something went wrong here: a fault of no kind we know")
        assert "RuntimeError" in caplog.text
        shown.click("Refresh")
        assert shown.lines == ["question 1"]


@pytest.mark.row("F3")
def test_what_is_wrong_with_the_store_is_told(own_home: Path) -> None:
    """A file of a later version is named, with the reason why nothing is read from it; the viewer works on."""
    file = own_home / "home" / "history.sqlite"
    with open_viewer(None, make_turn(1)):
        pass
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 999")
    with open_viewer() as shown:
        shown.says(str(file))
        shown.says("newer")
        assert shown.lines == []
        shown.click("Refresh")


@pytest.mark.row("S13")
def test_no_key_is_in_any_trait(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the server gets the key. No state of any widget has it, after answers and after a refusal."""
    monkeypatch.setenv("CHATGLM_API_KEY", KEY)
    with open_viewer(server, make_turn(1)) as shown:
        shown.session.ask("one")
        assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"
        server.scripts[:] = [reply({"error": {"message": f"bad key {KEY}"}}, status=401)]
        shown.says("2 turns")
        shown.open("one")
        shown.act("again")
        shown.says("401")
        for widget in shown.widgets():
            assert not has_leaked(json.dumps(widget.get_state(), default=str)), widget


def test_it_stands_for_itself_where_no_widget_can_be_shown(server: ScriptedServer) -> None:
    """The fallback says what to type, never varies, and carries no turn of anybody into a saved notebook."""
    with open_viewer() as empty, open_viewer(server, make_turn(1, prompt="private 秘密")) as full:
        full.session.ask("more")
        one, other = (shown.box._repr_mimebundle_() for shown in (empty, full))
        assert one["text/plain"] == other["text/plain"] and one["text/html"] == other["text/html"]
        assert "%chatglm_history" in one["text/plain"] and "秘密" not in json.dumps(other)


def test_everything_has_a_name(server: ScriptedServer) -> None:
    """Every button has a text and every box a label: an icon alone has no name for a screen reader."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        shown.act("delete")
        set_value(shown.named("#1"), True)
        shown.click("Export…")
        shown.type("Filters", True)
        kinds = (
            w.Button,
            w.ToggleButton,
            w.Text,
            w.Textarea,
            w.Dropdown,
            w.Checkbox,
            w.DatePicker,
            w.BoundedIntText,
        )
        found = [widget for widget in shown.seen() if isinstance(widget, kinds)]
        assert len(found) > 30 and all(widget.description.strip() for widget in found)
        assert all(not widget.disabled or widget.description for widget in found)
        assert shown.count == "2 turns" and 'role="status"' in shown.box.listing.count.value


def test_what_a_button_reads_is_sent_whole(server: ScriptedServer) -> None:
    """A field that a button reads sends its text when it is left, not with every key: a page holds back an update
    while another is under way, and the text's end would come after the click. The search is read by no button."""
    with open_viewer(server, make_turn(1)) as shown:
        fields = walk_widgets(shown.box)
        eager = [field.description for field in fields if getattr(field, "continuous_update", False)]
        assert eager == ["Search"]
