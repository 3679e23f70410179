"""What an output holds: the source, safe HTML, a line about the answer, and its provenance."""

from __future__ import annotations

import json

import pytest

from chatglm_magic.render.answers import card, format_answer, live_html, mime_bundle
from chatglm_magic.values import Turn

from .support.markup import Page

TURN = Turn(
    "q",
    "**Hi** $x^2$",
    reasoning="<b>hm</b>",
    model="glm-tiny",
    asked={"temperature": 0.5, "seed": 3},
    sent={"temperature": 0.5},
    turns_sent=2,
    usage={"completion_tokens": 7},
    duration=1.5,
    first_token=0.5,
    finish_reason="stop",
    endpoint="http://127.0.0.1:1/v1",
    version="0.1.0",
)


def test_the_plain_text_is_the_complete_source() -> None:
    """Plain viewers and exports keep what the model wrote."""
    data, metadata = mime_bundle(TURN)
    assert data["text/plain"] == TURN.answer
    known = metadata["chatglm"]
    assert (known["duration"], known["usage"], known["sent"]) == (
        1.5,
        {"completion_tokens": 7},
        {"temperature": 0.5},
    )
    assert "answer" not in known and json.dumps(known)


def test_thinking_folds_away_and_stands_open_while_it_streams() -> None:
    """A reader opens it; an update would close it again, so it is open until the end. It is escaped."""
    data, _ = mime_bundle(TURN)
    assert "<details>" in data["text/html"] and "&lt;b&gt;hm" in data["text/html"]
    assert "<details>" not in live_html("", "thinking") and "thinking" in live_html("", "thinking")
    assert Page(data["text/html"].replace("<details>", "").replace("</details>", "")).text


def test_the_footer_says_what_matters_and_nothing_that_varies() -> None:
    """Model, parameters asked, turns and tokens; times stand in the metadata alone."""
    html = mime_bundle(TURN)[0]["text/html"]
    assert "glm-tiny · temperature 0.5, seed 3 · 2 earlier turns sent · 7 tokens" in html
    assert "1.5 s" not in html


SPENT = "no answer: thinking used up max_token. Raise max_token, or reduce thinking"


@pytest.mark.parametrize(
    ("turn", "mark"),
    [
        (Turn("q", "half", status="interrupted"), "stopped before it was complete"),
        (Turn("q", "half", status="incomplete", error="the line broke"), "incomplete: the line broke"),
        (Turn("q", "half", finish_reason="length"), "cut at max_token"),
        (Turn("q", "", reasoning="long", finish_reason="length"), SPENT),
        (Turn("q", ""), "empty answer"),
    ],
)
def test_an_answer_that_is_not_whole_says_why(turn: Turn, mark: str) -> None:
    """Short text is never shown as a success."""
    data, _ = mime_bundle(turn)
    assert f"[{mark}]" in data["text/plain"] and mark in data["text/html"]


def test_what_was_changed_stands_in_the_footer() -> None:
    """A value the server or this package changed is said."""
    turn = Turn("q", "a", changed=("temperature: 0 sent as 0.01",), turns_left_out=1)
    assert "changed: temperature: 0 sent as 0.01" in mime_bundle(turn)[0]["text/html"]
    assert "1 left out, too long" in mime_bundle(turn)[0]["text/html"]


def test_forms_of_an_answer() -> None:
    """code is the fenced code alone, json the parsed reply; what is neither stays as it is."""
    assert format_answer("a\n```python\nx = 1\n```\nb", "code") == "x = 1"
    assert format_answer('{"a":1}', "json") == '{\n  "a": 1\n}'
    assert format_answer("no json", "json") == "no json"
    assert "text/html" not in mime_bundle(TURN, form="markdown")[0]


def test_a_card_is_text_never_markup() -> None:
    """A server's model name can't smuggle in HTML or a terminal sequence."""
    data = card({"model": "<script>alert(1)</script>\x1b[2J"})
    assert "<script>" not in data["text/html"] and "\x1b" not in data["text/html"]
