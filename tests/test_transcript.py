"""A transcript's messages, and the blocks of HTML that an answer grows by."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest

from chatglm_magic.render.blocks import BlockRenderer, plain_blocks
from chatglm_magic.widgets.transcript import Message, MessageNotice, Transcript

from .support.scale import choose_count
from .support.transcripts import TranscriptState, action

ANSWER = """# Title

A paragraph with **bold**, `code` and $x^2$.

- one
- two

  more of two

1. first

2. second

```python
x = 1

y = 2
```

| a | b |
|---|---|
| 1 | 2 |

> a quotation

$$
x
$$

See [the page].

[the page]: https://example.com
"""
PROSE = " ".join(f"word{n}" for n in range(3000))
CODE = "```python\n" + "".join(f"x{n} = {n}\n" for n in range(3000)) + "```\nafter"


class Page(TranscriptState):
    """The page of a transcript in this process: each change is applied, and what else comes is kept."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript.get_state())
        self.transcript = transcript
        self.others: list[dict[str, Any]] = []
        transcript.comm.send = self._hear  # type: ignore[method-assign]

    def _hear(self, data: Any = None, **kwargs: Any) -> None:
        content = data.get("content")
        if data["method"] == "custom" and content["do"] == "change":
            self.take(content)
        else:
            self.others.append(content or data)


@pytest.fixture
def page() -> Page:
    return Page(Transcript())


@pytest.mark.parametrize(
    "text", [ANSWER, PROSE, CODE, "", "😀" * 9000], ids=["all", "prose", "code", "none", "emoji"]
)
def test_an_answer_in_pieces_has_the_blocks_of_the_whole(text: str) -> None:
    """However it comes, the blocks at its end are those of the whole text at once."""
    whole = BlockRenderer().update(text)
    for seed in range(choose_count(1, 3)):
        dice, growing, at = random.Random(seed), BlockRenderer(), 0
        while at < len(text):
            growing.update(text[:at], ended=False)
            at += dice.randint(1, 9 if text is ANSWER else 900)
        assert growing.update(text) == whole


@pytest.mark.parametrize("text", [PROSE, CODE], ids=["prose", "code"])
def test_blocks_hold_all_of_a_long_text_and_none_is_long(text: str) -> None:
    """A page lays out a paragraph at a time: one without an end is divided, and no word is lost."""
    blocks = BlockRenderer().update(text)
    plain = [re.sub(r"<[^>]+>", "", block) for block in blocks]
    words = " ".join(plain).split()
    assert words == text.replace("```python", "").replace("```", "").split()
    assert len(blocks) > 2 and max(map(len, plain)) < 13_000


def test_a_growing_answer_sends_what_is_new(page: Page) -> None:
    """All that is sent of a text is about as long as its HTML, and the page has it exactly."""
    message, blocks = Message("1", busy=True), BlockRenderer()
    page.transcript.put(message)
    text = "".join(f"Line {n} has **bold** words and 😀.\n\n" for n in range(400))
    for end in range(0, len(text), 37):
        page.transcript.put(replace(message, blocks=tuple(blocks.update(text[:end], ended=False))))
    final = tuple(blocks.update(text))
    page.transcript.put(replace(message, blocks=final, busy=False))
    assert page.messages[0]["blocks"] == list(final) and not page.messages[0]["busy"]
    assert page.sent < 2 * sum(map(len, final))


def test_a_page_has_what_is_shown(page: Page) -> None:
    """Messages are added, changed, put in another order and taken out; the page has the same after each."""
    one, two, three = (Message(f"{n}", blocks=(f"<p>{n}</p>",)) for n in range(3))
    shown = page.transcript
    for messages in ([one, two], [one, two, three], [one, three], [three, one], [replace(three, meta="m")], []):
        shown.show(messages)
        assert list(shown.all_messages) == messages
        assert [(m["id"], m["meta"], m["blocks"]) for m in page.messages] == [
            (m.id, m.meta, list(m.blocks)) for m in messages
        ]
    shown.put(one)
    shown.remove("0", "unknown")
    assert page.messages == [] and "0" not in shown


def test_a_page_that_opens_later_gets_all(page: Page) -> None:
    """Its state has every message as it is; one that has missed a change asks for all."""
    page.transcript.put(Message("1", "user", "You", tuple(plain_blocks("<b>")), "<b>"))
    state = page.transcript.get_state()
    assert state["messages"][0]["blocks"] == ['<p class="chatglm-plain">&lt;b&gt;</p>'] and state["revision"] == 1
    for number, answers in ((1, 0), (0, 1)):
        page.others.clear()
        act(page.transcript, "sync", number=number)
        assert len(page.others) == answers


def act(transcript: Transcript, name: Any, id: Any = "", **values: Any) -> None:
    """Do what a page does when its reader presses something."""
    transcript._handle_msg({"content": {"data": action(name, id, **values)}, "buffers": []})


def test_actions_reach_their_owner_and_copy_is_answered(page: Page) -> None:
    """An answer's source stays in the kernel until it is copied; what isn't an action is let be."""
    heard: list[Any] = []
    page.transcript.on_action(lambda *action: heard.append(action))
    page.transcript.put(Message("1", source="the **text**"))
    assert "source" not in page.messages[0]
    act(page.transcript, "again", "1")
    act(page.transcript, "copy", "1")
    act(page.transcript, "copy", "none")
    act(page.transcript, 7)
    assert heard == [("again", "1", {})] and page.others == [{"do": "copy", "text": "the **text**"}]


def test_the_box_is_told_what_became_of_a_prompt(page: Page) -> None:
    """Taken, it is emptied; refused, the text stays and a line says why."""
    page.transcript.draft = "hi"
    page.transcript.refuse(MessageNotice("Not now.", "failed"))
    assert page.transcript.draft == "hi" and page.transcript.notice["text"] == "Not now."
    page.transcript.accept("hi")
    assert page.transcript.draft == ""
    page.transcript.show_notice(None)
    assert page.transcript.notice == {}
