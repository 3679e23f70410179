"""The history viewer: what it lists and finds, and what a turn opens to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as w
import pytest
from ipywidgets.widgets.widget import _instances

from chatglm_magic import Session
from chatglm_magic.store import Query
from chatglm_magic.values import Turn
from chatglm_magic.widgets.viewer.box import HistoryViewer

from .support.hostile import ANSWERS
from .support.markup import Page
from .support.panels import click, set_value, visible_text, wait_until
from .support.scale import choose_count
from .support.servers import ScriptedServer, answer
from .support.viewers import OTHER, Viewer, make_turn, open_viewer, read_message


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


# --- listing ---------------------------------------------------------------------------------------------------


def test_the_newest_turns_come_first_20_a_page() -> None:
    """A page has 20 turns, the last asked first, and every page is reached by the buttons and by its number."""
    with open_viewer(None, *(make_turn(n) for n in range(45))) as shown:
        assert shown.lines == [f"question {n}" for n in range(44, 24, -1)]
        assert "1–20 of 45 turns" in shown.text
        shown.click("Next")
        assert shown.lines[0] == "question 24" and "21–40 of 45 turns" in shown.text
        shown.click("Last")
        assert shown.lines == [f"question {n}" for n in range(4, -1, -1)] and "41–45 of 45 turns" in shown.text
        assert shown.named("Next").disabled and shown.named("Last").disabled
        shown.click("First")
        assert shown.lines[0] == "question 44" and shown.named("Previous").disabled
        shown.type("Page", 3)
        assert shown.lines[0] == "question 4"
        shown.click("Previous")
        assert shown.lines[0] == "question 24"


def test_an_empty_store_is_no_trouble() -> None:
    """Without any turn the viewer says so, and nothing that can be pressed breaks it."""
    with open_viewer() as shown:
        assert shown.lines == [] and "0 turns" in shown.text
        shown.click("Refresh")
        assert "Select page" not in shown.names and "Export all…" not in shown.names
        shown.type("Show", "all conversations")
        assert shown.count == "No conversations yet" and shown.prompts == []


@pytest.mark.row("F6")
def test_many_turns_need_no_more_widgets_than_twenty() -> None:
    """Widgets are counted over 20 turns and over 10 000 (100 000 in ``.ci/soak``), searched and paged through."""
    most = choose_count(10_000, 100_000)

    def used(*turns: Turn) -> int:
        before = len(_instances)
        with open_viewer(None, *turns) as shown:
            count = shown.session.store.count(Query())
            shown.open(f"question {count - 1}")
            shown.find("question", f"{count:,} turns found")
            if count > 20:
                shown.click("Last")
                assert shown.lines[-1] == "question 0"
                shown.type("Page", count // 40)
                assert len(shown.lines) == 20
            shown.type("Show", "all conversations")
            assert shown.lines
            return len(_instances) - before

    few = used(*(make_turn(n) for n in range(20)))
    many = used(*(make_turn(n, conversation=f"{n // 10:012x}") for n in range(20, most)))
    assert few == many < 400


def test_orders() -> None:
    """Oldest, slowest, most tokens, highest temperature: each is a choice."""
    turns = [
        make_turn(n, duration=d, asked={"temperature": t}, usage={"completion_tokens": c})
        for n, (d, t, c) in enumerate([(1.0, 0.9, 5), (9.0, 0.1, 7), (3.0, 0.5, 99)])
    ]
    first = {"oldest first": 0, "slowest first": 1, "most tokens first": 2, "highest temperature first": 0}
    with open_viewer(None, *turns) as shown:
        for order, number in first.items():
            shown.type("Order", order)
            assert shown.lines[0] == f"question {number}", order


@pytest.mark.parametrize(
    ("text", "count", "line"),
    [
        ("爱情", "1 turn found", "什么是爱情？"),
        ("爱", "1 turn found", "什么是爱情？"),
        ("人工智能", "1 turn found", "question 2"),
        ("GLM 智能", "1 turn found", "question 2"),
        ("weather", "1 turn found", "question 3"),
        ("nowhere", "0 turns found", None),
        ("情爱", "0 turns found", None),
        ("100%_*\"'", "0 turns found", None),
    ],
)
def test_a_search_finds_words_of_any_language(text: str, count: str, line: str | None) -> None:
    """What is typed is found in prompt, answer and reasoning a moment later, without any further click."""
    turns = [
        make_turn(1, prompt="什么是爱情？"),
        make_turn(2, answer="GLM 是人工智能的模型"),
        make_turn(3, reasoning="thinks of the weather"),
        *(make_turn(n) for n in range(4, 10)),
    ]
    with open_viewer(None, *turns) as shown:
        shown.find(text, count)
        assert shown.lines == ([line] if line else [])
        shown.find("", "9 turns")
        assert len(shown.lines) == 9


def day(year: int, month: int, date: int) -> dict[str, int]:
    """Return a day as the page sends it."""
    return {"year": year, "month": month - 1, "date": date}


def test_filters_narrow_the_list() -> None:
    """Model, status, kind, dates and ranges of temperature, top_p and max_token each leave what they say."""
    turns = [
        make_turn(0, model="glm-4"),
        make_turn(1, status="interrupted"),
        make_turn(2, kind="sweep"),
        make_turn(3, created="2025-05-05T12:00:00+00:00"),
        make_turn(4, asked={"temperature": 0.9}),
        make_turn(5, asked={"top_p": 0.3}),
        make_turn(6, asked={"max_token": 64}),
        make_turn(7, asked={"temperature": 0.2, "top_p": 0.9, "max_token": 4096}),
    ]
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"Model": "glm-4"}, [0]),
        ({"Status": "interrupted"}, [1]),
        ({"Kind": "sweep"}, [2]),
        ({"Until": day(2025, 5, 6)}, [3]),
        ({"Since": day(2025, 5, 1), "Until": day(2025, 12, 31)}, [3]),
        ({"temperature from": "0.5"}, [4]),
        ({"temperature to": "0.5"}, [7]),
        ({"temperature from": "0.1", "temperature to": "1"}, [7, 4]),
        ({"top_p to": "0.3"}, [5]),
        ({"max_token from": "64", "max_token to": "64"}, [6]),
        ({"temperature from": "0.1", "max_token from": "1000", "Model": "test-glm"}, [7]),
    ]
    with open_viewer(None, *turns) as shown:
        shown.type("Filters", True)
        for boxes, numbers in cases:
            for name, value in boxes.items():
                shown.type(name, value)
            assert shown.lines == [f"question {n}" for n in numbers], boxes
            assert f"Filters ({len(boxes)})" in shown.names
            shown.click("Clear filters")
            assert len(shown.lines) == 8 and "Filters" in shown.names


@pytest.mark.parametrize("typed", ["abc", "1,5", "0.1.2", "一"])
def test_a_number_that_is_none_is_told(typed: str) -> None:
    """What can't be read is named in one line, the list stays, and a good number mends it."""
    with open_viewer(None, make_turn(1, asked={"temperature": 0.5}), make_turn(2)) as shown:
        shown.type("Filters", True)
        shown.type("temperature from", typed)
        shown.says(f"temperature from: {typed!r} isn't a number.")
        assert len(shown.lines) == 2
        shown.type("temperature from", "0.5")
        assert shown.lines == ["question 1"] and "isn't a number" not in shown.text


def test_models_are_offered_as_they_come() -> None:
    """The models of all stored turns are choices; a chosen one stays chosen when others come."""
    with open_viewer(None, make_turn(1, model="glm-4"), make_turn(2, model="glm-3")) as shown:
        shown.type("Filters", True)
        assert list(shown.named("Model").options) == ["any", "glm-3", "glm-4"]
        shown.type("Model", "glm-4")
        shown.session.store.put(make_turn(3, model="glm-5"), 3)
        shown.click("Refresh")
        assert shown.named("Model").value == "glm-4" and "glm-5" in shown.named("Model").options
        assert shown.lines == ["question 1"]


def test_new_turns_do_not_turn_the_page() -> None:
    """On a later page of a filtered list one stays there when turns, and models, come in."""
    with open_viewer(None, *(make_turn(n, model="glm-4") for n in range(45))) as shown:
        shown.type("Filters", True)
        shown.type("Model", "glm-4")
        shown.click("Next")
        shown.session.store.put(make_turn(50, model="glm-5"), 50)
        shown.click("Refresh")
        assert "21–40 of 45 turns found" in shown.text and shown.named("Page").value == 2
        assert "glm-5" in shown.named("Model").options


def test_conversations_are_listed_and_read() -> None:
    """The viewer begins with the conversations, the last one open; another one is opened by its line."""
    turns = [
        make_turn(n, conversation=f"{n // 3:012x}", prompt=f"{'first' if n % 3 == 0 else 'more'} {n}")
        for n in range(90)
    ]
    with open_viewer(None, *turns, show="all conversations") as shown:
        assert shown.lines == [f"first {n}" for n in range(87, 27, -3)]
        assert shown.prompts == ["first 87", "more 88", "more 89"] and "3 turns" in shown.text
        shown.click("Next")
        assert shown.lines == [f"first {n}" for n in range(27, -3, -3)]
        assert shown.named("Next").disabled
        shown.open("first 24")
        assert shown.prompts == ["first 24", "more 25", "more 26"]
        assert shown.lines == [f"first {n}" for n in range(27, -3, -3)]


def test_a_search_finds_turns_and_marks_what_was_found() -> None:
    """A search lists turns and no conversations; each has what was found with some text around it; when the search
    is empty again the conversations are back. A turn that is found is opened in its conversation."""
    turns = [
        make_turn(1, answer="Long ago. " * 30 + "The sea is BLUE because of <water>." + " So it is." * 30),
        make_turn(2, conversation="a" * 12, prompt="什么是人工智能？", answer="爱情是两个人之间的感情"),
        make_turn(3, conversation="a" * 12),
    ]
    with open_viewer(None, *turns, show="all conversations") as shown:
        assert shown.lines == ["什么是人工智能？", "question 1"]
        shown.find("blue", "1 turn found")
        assert shown.lines == ["question 1"]
        html = shown.list_lines[0].summary.value
        assert "sea is <mark>BLUE</mark> because of &lt;water&gt;" in html and html.count("Long ago") < 4
        shown.type("Search", "感情")
        wait_until(lambda: shown.lines == ["什么是人工智能？"])
        assert "之间的<mark>感情</mark>" in shown.list_lines[0].summary.value
        shown.type("Search", "智能")
        wait_until(lambda: "<mark>智能</mark>" in shown.list_lines[0].summary.value)
        assert "人工<mark>智能</mark>？ → 爱情是两个人之间的感情" in shown.list_lines[0].summary.value
        shown.open("什么是人工智能？")
        assert shown.prompts == ["什么是人工智能？", "question 3"]
        shown.find("", "Conversations")
        assert shown.lines == ["什么是人工智能？", "question 1"]


def test_a_copy_in_a_branch_is_told_from_its_original() -> None:
    """A branch holds copies of what came before it: a search finds both, and says which is which."""
    with open_viewer(None, make_turn(1, prompt="什么是温度？"), make_turn(2)) as shown:
        shown.session.resume(shown.session.store.conversations()[0].id)
        shown.session.fork(shown.session.turns[-1].id)
        shown.find("温度", "2 turns found")
        assert ["in a branch" in line.summary.value for line in shown.list_lines] == [True, False]


def test_it_opens_with_the_present_conversation() -> None:
    """Also where a sweep, say, was asked later in a conversation of its own."""
    turns = [make_turn(1, conversation="a" * 12, prompt="mine"), make_turn(2, conversation="b" * 12)]
    session = Session()
    session.store.add([(turn, 0) for turn in turns])
    session.resume("a" * 12)
    viewer = HistoryViewer(session)
    assert viewer.reader.conversation == "a" * 12
    viewer.close()


def test_an_error_of_the_past_gives_no_advice() -> None:
    """It says what happened; what to do about it was for the cell in which it happened."""
    error = (
        "No server answers at http://127.0.0.1:1/: connection refused. %chatglm_serve starts the built-in model."
    )
    with open_viewer(None, make_turn(1, answer="", status="error", error=error)) as shown:
        shown.open("question 1")
        assert "connection refused." in shown.text and "%chatglm" not in shown.text


def test_a_long_conversation_is_read_a_page_at_a_time() -> None:
    """A turn is shown among the 20 of its page; one of a conversation's end among the last ones."""
    with open_viewer(None, *(make_turn(n) for n in range(45))) as shown:
        shown.open("question 44")
        assert shown.prompts == [f"question {n}" for n in range(40, 45)] and "turns 41–45 of 45" in shown.text
        assert "Later turns" not in shown.names
        shown.click("Earlier turns")
        assert shown.prompts == [f"question {n}" for n in range(20, 40)]
        shown.click("Earlier turns")
        assert shown.prompts[0] == "question 0" and "Earlier turns" not in shown.names
        shown.click("Later turns")
        assert "turns 21–40 of 45" in shown.text
        shown.find("question 7", "1 turn found")
        shown.open("question 7")
        assert shown.prompts == [f"question {n}" for n in range(20)]


def test_a_conversation_is_continued(server: ScriptedServer) -> None:
    """Continue makes a stored conversation the present one: the next question sees its turns."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        shown.click("Continue this conversation")
        shown.says("Switched to this conversation (2 turns).")
        assert shown.session.conversation == OTHER
        assert "Continue this conversation" not in shown.names
        shown.session.ask("and now?")
        assert sent(server) == ["question 1", "answer 1", "question 2", "answer 2", "and now?"]
        shown.type("Show", "this conversation")
        wait_until(lambda: shown.lines == ["and now?", "question 2", "question 1"])


# --- a turn ----------------------------------------------------------------------------------------------------


def test_a_turn_opens_to_all_that_is_known() -> None:
    """Prompt, answer and reasoning stand there in full, with parameters asked and sent, timings and origin."""
    whole = make_turn(
        1,
        prompt="Line one\n  line two " + "long " * 100,
        answer="**bold** answer",
        reasoning="because of this",
        system="Be brief.",
        asked={"temperature": 0, "max_token": 99},
        sent={"temperature": 0.01, "top_p": 0.7, "max_tokens": 99, "stream": True, "logit_bias": {"5": 1}},
        changed=("temperature 0 was sent as 0.01",),
        usage={"prompt_tokens": 11, "completion_tokens": 222},
        first_token=0.25,
        duration=2.5,
        finish_reason="stop",
        endpoint="http://127.0.0.1:8000/v1/chat/completions",
        dialect="openai",
        version="0.1.0",
    )
    with open_viewer(None, whole) as shown:
        shown.open(shown.lines[0])
        text = shown.text
        for part in (
            *("line two " + "long " * 99, "bold answer", "because of this", "Be brief."),
            *("temperature 0 (sent as 0.01)", "max_token 99", "top_p 0.7", 'logit_bias {"5": 1}'),
            "changed temperature 0 was sent as 0.01",
            *("prompt tokens 11", "answer tokens 222", "first token 0.2 s", "whole answer 2.5 s, 99 tokens/s"),
            *("finish reason stop", "status complete", "http://127.0.0.1:8000/v1/chat/completions", whole.id),
        ):
            assert part.strip() in text, part


def test_a_turn_that_failed_says_why() -> None:
    """An error stands with the turn; its status is a word in the list."""
    with open_viewer(
        None, make_turn(1, answer="", status="error", error="The server answered 500: out of memory.")
    ) as shown:
        assert "error" in shown.text
        shown.open("question 1")
        assert "The server answered 500: out of memory." in shown.text


def test_versions_of_an_answer_are_shown_one_at_a_time() -> None:
    """The one that stands is shown; the others, which it replaced, a click away, and by the list."""
    with open_viewer(None, make_turn(1, status="superseded", answer="old one")) as shown:
        shown.session.store.put(make_turn(2, prompt="question 1", answer="new one"), 0)
        shown.session.store.put(make_turn(3), 1)
        shown.click("Refresh")
        shown.open("question 3")
        assert shown.prompts == ["question 1", "question 3"]
        assert "new one" in shown.text and "old one" not in read(shown)
        shown.act("version", "question 1", number=1)
        assert "old one" in read(shown) and "Replaced by a later answer." in read(shown)
        shown.act("version", "question 1", number=2)
        assert "new one" in read(shown) and "old one" not in read(shown)


def read(shown: Viewer) -> str:
    """Return what stands in the transcript."""
    return " ".join(part for message in shown.box.reader.transcript.all_messages for part in read_message(message))


def test_answers_of_live_mode_stand_side_by_side() -> None:
    """Their prompt is there once, and each answer is headed by its parameters; in the list they are one line."""
    turns = [make_turn(n, kind="live", prompt="same", asked={"temperature": n / 10}) for n in range(3)]
    with open_viewer(None, *turns, make_turn(4)) as shown:
        assert shown.lines == ["question 4", "same"] and "3 live answers" in shown.text
        set_value(shown.list_lines[1].checkbox, True)
        assert "3 turns selected" in shown.text and shown.list_lines[1].checkbox.value
        shown.open("same")
        first, *answers, _, _ = shown.box.reader.transcript.all_messages
        assert first.source == "same" and len(answers) == 3 and len({answer.lane for answer in answers}) == 1
        assert [answer.label for answer in answers] == ["temperature 0", "temperature 0.1", "temperature 0.2"]


def test_times_have_the_same_precision_everywhere() -> None:
    """Moments to the minute, in list, transcript, facts and comparison; durations to a tenth of a second."""
    turns = [
        make_turn(n, duration=3.456, first_token=0.123, created=f"202{5 + n}-03-04T12:34:56+00:00")
        for n in range(2)
    ]
    with open_viewer(None, *turns) as shown:
        shown.open("question 1")
        for line in shown.list_lines:
            set_value(line.checkbox, True)
        texts = [read(shown), *(visible_text(line.summary) for line in shown.list_lines)]
        shown.click("Compare")
        texts.append(visible_text(shown.box.comparison.text))
        found = re.findall(r"202[56]-\d\d-\d\d(?: [\d:]+)?", " ".join(texts))
        assert len(found) > 6 and all(re.fullmatch(r"202\d-03-04 \d\d:\d\d", time) for time in found), found
        durations = re.findall(r"[\d.]+ s\b", " ".join(texts))
        assert set(durations) == {"3.5 s", "0.1 s"}


@pytest.mark.row("S5")
def test_stored_turns_can_do_nothing() -> None:
    """Control: the payload is markup as it stands. In the list, opened, pinned and streamed it is text alone.

    Every third payload each day, all in ``.ci/soak``.
    """
    raw = "<img src=x onerror=alert(1)>"
    assert Page(raw).wrong
    hostile = [raw, "</style></div><script>alert(1)</script>", *(a.text for a in ANSWERS[:: choose_count(3, 1)])]
    turns = [
        make_turn(
            *(n,),
            **dict.fromkeys(
                ("prompt", "reasoning", "system", "model", "endpoint", "finish_reason", "error"), text
            ),
            answer=text,
            asked={text: text},
            sent={text: [text]},
            usage={"completion_tokens": text},
            changed=(text,),
            created=text,
        )
        for n, text in enumerate(hostile)
    ]
    with open_viewer(None, *turns) as shown:
        seen = 0
        while True:
            for line in shown.list_lines:
                click(line.button)
                for chosen in (line, shown.list_lines[0]):
                    set_value(chosen.checkbox, True)
                if "Compare" in shown.names and not shown.named("Compare").disabled:
                    shown.click("Compare")
                seen += check_html(shown)
                shown.click("Clear selection")
            if "Next" not in shown.names or shown.named("Next").disabled:
                break
            shown.click("Next")
        assert seen > 10 * len(hostile)


def check_html(shown: Viewer) -> int:
    """See that no HTML of a viewer can do anything; return how many pieces there were."""
    values = [widget.value for widget in shown.widgets() if isinstance(widget, w.HTML | w.HTMLMath)]
    values += [block for message in shown.box.reader.transcript.all_messages for block in message.blocks]
    for value in values:
        assert "<style>" in value or not dangerous(value), value
    return len(values)


OURS = ("mark", "details", "summary", "class", "role", "aria-level", "aria-live", "aria-label", "style")
"""Tags and attributes that the viewer writes, beyond those of an answer."""


def dangerous(html: str) -> list[str]:
    """Return what a page's HTML holds beyond what the viewer itself writes."""
    wrong = [what for what in Page(html).wrong if not (what.startswith("<") and what[1:-1].split()[-1] in OURS)]
    return [what for what in wrong if not what.startswith("style") or "url" in what]


def test_a_10_MiB_turn_opens_in_part_and_says_so() -> None:
    """A page gets at most some hundred thousand characters of a text, with a note; the store has them all."""
    long = "字" * (10 * 2**20)
    with open_viewer(None, make_turn(1, answer=long, prompt="short")) as shown:
        shown.open("short")
        assert "10,385,760 more characters: export the turn to see all." in shown.text
        assert (
            sum(len(widget.value) for widget in shown.widgets() if isinstance(widget, w.HTML | w.HTMLMath))
            + sum(len(block) for message in shown.box.reader.transcript.all_messages for block in message.blocks)
            < 2**20
        )
        assert len(shown.session.store.find(Query())[0].turn.answer) == len(long)
