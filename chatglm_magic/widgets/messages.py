"""The contents of a transcript: messages and notices, as plain values that need no widget library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

ActionListener = Callable[[str, str, dict[str, Any]], None]
"""Receives a user's action: its name, the id of the message or field (empty for none), and further values."""

Tone = Literal["", "muted", "failed"]


@dataclass(frozen=True, slots=True)
class MessageNotice:
    """A line about a message or about the prompt box; its tone is ``muted``, or ``failed`` for an error.

    ``details`` are plain text, collapsed. ``action`` and ``label`` define a button, such as Continue.
    """

    text: str = ""
    tone: Tone = "muted"
    details: str = ""
    action: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a transcript.

    :param id: identifies it in :meth:`Transcript.put` and in actions.
    :param role: ``user``, ``assistant``, or ``note``, a line of small type between two messages.
    :param label: the speaker: ``You``, ``GLM`` or a model's name. In a lane it is the column's heading.
    :param blocks: safe HTML, one piece per paragraph, from :class:`..render.blocks.Blocks` for Markdown or
        :func:`..render.blocks.plain_blocks` for a prompt. Together they are the visible text.
    :param source: the text itself, for *Copy* and *Edit*. Only a user's is sent to the page, which edits it; the
        others stay in the kernel until they are copied.
    :param meta: one small line below it, such as "68 tokens · 3.4 s".
    :param facts: name and value of further facts, below *Details*.
    :param notice: a line about how it ended, or what it is waiting for.
    :param versions: number of the displayed version, from 1, and their count; more than one shows ◁ 2/3 ▷.
    :param actions: the buttons: ``edit``, ``copy``, ``again``, ``branch``, ``delete``. The listeners of
        :meth:`Transcript.on_action` receive each by that name, except ``copy``, which the transcript handles.
        An edited prompt is sent as ``edit`` with ``{"text": …}``; ◁ and ▷ as ``version`` with ``{"number": …}``;
        a notice's button as its own action; a checkbox as ``select`` with ``{"selected": …}``.
    :param busy: whether the answer is still streaming.
    :param lane: consecutive messages with the same lane are displayed side by side.
    :param badge: a few words in a lane's heading, such as "same as left".
    :param selected: whether its checkbox is checked; None shows no checkbox.
    """

    id: str
    role: Literal["user", "assistant", "note"] = "assistant"
    label: str = ""
    blocks: tuple[str, ...] = ()
    source: str = ""
    meta: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    notice: MessageNotice | None = None
    versions: tuple[int, int] = (1, 1)
    actions: tuple[str, ...] = ()
    busy: bool = False
    lane: str = ""
    badge: str = ""
    selected: bool | None = None
