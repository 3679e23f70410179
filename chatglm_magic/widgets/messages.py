"""What a transcript shows: messages and notices, as values that need no widget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "muted", "failed"]


@dataclass(frozen=True, slots=True)
class Notice:
    """A line about a message or about the box: ``muted`` for what is as it should be, ``failed`` for an error.

    ``details`` are plain text, a click away. ``action`` and ``label`` make a button, such as Continue.
    """

    text: str = ""
    tone: Tone = "muted"
    details: str = ""
    action: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a transcript.

    :param id: names it in :meth:`Transcript.put` and in actions.
    :param role: ``user``, ``assistant``, or ``note``, a line of small type between two messages.
    :param label: who speaks: ``You``, ``GLM``, a model's name. In a lane it is the column's heading.
    :param blocks: safe HTML, one piece a paragraph: of :class:`..render.blocks.Blocks` for Markdown, or of
        :func:`..render.blocks.plain_blocks` for a prompt. Together they are what the reader sees.
    :param source: the text itself, for *Copy* and *Edit*. It stays in the kernel until it is asked for, except a
        user's, which is edited in the page.
    :param meta: one small line under it, as "68 tokens · 3.4 s".
    :param facts: further facts, name and value, behind the word *Details*.
    :param notice: a line about how it ended, or what is being waited for.
    :param versions: (which, of how many), from 1; shows ◁ 2/3 ▷ where there is more than one.
    :param actions: what it offers: ``edit``, ``copy``, ``again``, ``branch``, ``delete``; each is sent to
        :meth:`Transcript.on_action` by that name, but for ``copy``, which the transcript does by itself.
        An edited prompt comes as ``edit`` with ``{"text": …}``; ◁ and ▷ as ``version`` with ``{"number": …}``;
        a notice's button as its own action; a checked box as ``select`` with ``{"selected": …}``.
    :param busy: whether more is to come.
    :param lane: messages that follow each other with the same lane stand side by side.
    :param badge: a word in a lane's heading, as "same as left".
    :param selected: whether its box is checked; None shows no box.
    """

    id: str
    role: Literal["user", "assistant", "note"] = "assistant"
    label: str = ""
    blocks: tuple[str, ...] = ()
    source: str = ""
    meta: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    notice: Notice | None = None
    versions: tuple[int, int] = (1, 1)
    actions: tuple[str, ...] = ()
    busy: bool = False
    lane: str = ""
    badge: str = ""
    selected: bool | None = None
