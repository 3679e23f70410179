"""What a cell holds, equal answers once; the opened cell and a pinned baseline, what differs marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ipywidgets as w

from ...render.answers import completion_tokens, escape_html, live_html
from ...render.diff import MAX_HIGHLIGHTED_SHARE, highlight_changes
from ...render.text import one_line, plural
from ...session.draft import Draft
from ...sweeps import Sweep
from ...sweeps.cells import Cell, Group
from ...values import Turn
from .. import look
from ..answer import answer_html
from ..viewer.calls import CallbackGuard
from .grid import title

SHOWN = 20
"""Answers that are shown at once; a dropdown turns to the others."""
LONGEST = 200_000
"""Characters of a text that a page is given; the rest is counted, and is in the sweep."""

Part = Group | tuple[int, Draft]
"""One thing to show of a cell: equal answers that have come, or a sample's number and its answer under way."""


def parts_of(cell: Cell) -> list[Part]:
    """Return what there is of a cell, in the order of the samples."""
    parts: list[Part] = [*cell.groups, *cell.drafts.items()]
    return sorted(parts, key=_first)


def part_html(cell: Cell, part: Part) -> str:
    """Return a part's name and facts, then its answer as far as it has come, and what went wrong, as safe HTML."""
    if isinstance(part, Group):
        body = _body(part.turn)
    else:
        draft = part[1]
        body = live_html(draft.text[:LONGEST], draft.reasoning[:LONGEST], draft.notice) + _rest(draft.text)
    return _named(cell, part, body)


def _named(cell: Cell, part: Part, body: str) -> str:
    """Return an answer's HTML as a group that has its name, with its name and facts in a small line below."""
    if isinstance(part, Group):
        name, facts = _name(cell, part.samples), facts_of(part.turn)
    else:
        name, began = _name(cell, (part[0],)), part[1].first_token is not None
        facts = f"running · {len(part[1].text)} characters" if began else "sent · no token yet"
    label = " · ".join(text for text in (name, facts) if text)
    group = escape_html(name or "Answer")
    return (
        f'<div role="group" aria-label="{group}">{body}</div><div class="chatglm-label">{escape_html(label)}</div>'
    )


def facts_of(turn: Turn) -> str:
    """Say in one line how an answer ended, and how long it is."""
    tokens, size = completion_tokens(turn), len(turn.answer)
    parts: list[str] = [turn.status] if turn.status != "complete" else []
    parts.append(plural(size, "character"))
    if tokens:
        parts.append(plural(tokens, "token"))
    if turn.finish_reason and turn.finish_reason != "stop":
        parts.append(f"finish: {one_line(turn.finish_reason, 40)}")
    parts += [f"changed: {one_line(what, 200)}" for what in turn.changed]
    return " · ".join(parts)


def _first(part: Part) -> int:
    return part.samples[0] if isinstance(part, Group) else part[0]


def _text(part: Part) -> str:
    return (part.turn.answer if isinstance(part, Group) else part[1].text)[:LONGEST]


def _name(cell: Cell, samples: tuple[int, ...]) -> str:
    """Name the samples of a part; the one sample of a cell needs no name."""
    if len(cell.turns) == 1:
        return ""
    if len(samples) == len(cell.turns):
        return f"{len(samples)} × the same"
    listed = f"Sample{'s' * (len(samples) > 1)} {_ranges(samples)}"
    return f"{len(samples)} × the same · {listed}" if len(samples) > 1 else listed


def _ranges(samples: tuple[int, ...]) -> str:
    """Return numbers, counted from 1, as people write them: ``1–3, 5``."""
    runs: list[list[int]] = []
    for number in samples:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0] + 1}–{run[-1] + 1}" if len(run) > 1 else str(run[0] + 1) for run in runs)


def _body(turn: Turn) -> str:
    cut = replace(turn, answer=turn.answer[:LONGEST], reasoning=turn.reasoning[:LONGEST])
    error = f'<p class="chatglm-failed">{escape_html(one_line(turn.error))}</p>' if turn.error else ""
    return answer_html(cut) + _rest(turn.answer) + error


def _rest(text: str) -> str:
    left = len(text) - LONGEST
    return look.small_html(f"… {left:,} more characters: the sweep's turns have them.") if left > 0 else ""


class Side(w.VBox):  # type: ignore[misc]
    """One cell with its answers, hidden while there is no cell.

    :param name: what the cell is, as ``Baseline``.
    :param samples: how many each cell has.
    :param changed: is called when another answer is chosen to be compared.
    """

    def __init__(
        self, name: str, samples: int, guard: CallbackGuard, changed: Callable[[], object], *buttons: w.Button
    ) -> None:
        self.cell: Cell | None = None
        self._name, self._samples, self._guard = name, samples, guard
        self._parts: list[Part] = []
        self._keys: dict[int, object] = {}
        self._marks = False
        self.heading, self.marked, self.missing = look.Html(), look.Html(), look.Html()
        self.answer = w.Dropdown(description=f"{name}: compared answer")
        self.page = w.Dropdown(options=[("", 0)], description=f"{name}: answers shown")
        self.answer.observe(guard.handler(changed), names="value")
        self.page.observe(guard.handler(self.show), names="value")
        self.panes = [look.with_class(look.Typeset(), "chatglm-sample") for _ in range(min(SHOWN, samples))]
        choices = look.row(look.label_above(self.answer), look.label_above(self.page))
        parts = [look.row(self.heading, look.row(*buttons)), choices, self.marked, *self.panes, self.missing]
        super().__init__(parts)
        self.add_class("chatglm-card")
        self.add_class("chatglm-side")
        self.take(None, prompts=False)

    def take(self, cell: Cell | None, *, prompts: bool) -> None:
        """Show a cell, or nothing; ``prompts`` says that it takes the prompt to name it."""
        self.cell = cell
        self.layout.display = None if cell is not None else "none"
        if cell is not None:
            self.heading.value = look.heading_html(f"{self._name}: {title(cell, prompts=prompts)}", 4)
        self.show()

    def show(self) -> None:
        """Bring the answers up to the cell; each is drawn again only where it has changed."""
        self._parts = parts_of(self.cell) if self.cell is not None else []
        self._offer()
        for place, pane in enumerate(self.panes):
            number = self.page.value + place
            part = self._parts[number] if number < len(self._parts) else None
            key = (self.cell, part if isinstance(part, Group) else part and (part[0], _size(part[1])))
            if self._keys.get(place) == key:
                continue
            self._keys[place] = key
            pane.value = part_html(self.cell, part) if self.cell is not None and part is not None else ""
        self._place()
        come = sum(turn is not None for turn in self.cell.turns) + len(self.cell.drafts) if self.cell else 0
        lacking = self._samples - come
        waiting = f"{plural(lacking, 'request')} not sent yet"
        self.missing.value = look.small_html(waiting) if self.cell is not None and lacking else ""

    @property
    def text(self) -> str:
        """The answer that is compared."""
        part = self._compared
        return _text(part) if part is not None else ""

    @property
    def runs(self) -> bool:
        """Whether that answer is still being written."""
        return isinstance(self._compared, tuple) and not isinstance(self._compared, Group)

    @property
    def _compared(self) -> Part | None:
        return next((part for part in self._parts if _first(part) == self.answer.value), None)

    def compare(self, other: str | None) -> None:
        """Show the compared answer with what another one lacks marked, in its place; None compares nothing."""
        self.answer.layout.display = None if other is not None and len(self._parts) > 1 else "none"
        self._marks = other is not None and other != self.text
        words, body, part = "" if other is None else "The same in both", "", self._compared
        if other is not None and self._marks:
            html, share = highlight_changes(other, self.text)
            self._marks = share < MAX_HIGHLIGHTED_SHARE
            words = "Differences highlighted" if self._marks else "A different answer"
            if self._marks and self.cell is not None and part is not None:
                body = _named(self.cell, part, f'<div class="chatglm-marked">{html}</div>')
        self.marked.value = f'<div class="chatglm-label">{words}</div>{body}' if words else ""
        self._place()

    def _place(self) -> None:
        """Show a pane for each part; an answer with marks takes the place of its own."""
        for place, pane in enumerate(self.panes):
            number = self.page.value + place
            part = self._parts[number] if number < len(self._parts) else None
            marked = self._marks and part is not None and _first(part) == self.answer.value
            pane.layout.display = "none" if part is None or marked else None

    def _offer(self) -> None:
        """Let the dropdowns offer what there is; what was chosen stays where it is still there."""
        cell = self.cell
        names = [
            (f"sample{'s' * (isinstance(part, Group) and len(part.samples) > 1)} {_numbers(part)}", _first(part))
            for part in self._parts
        ] or [("–", -1)]
        count = len(self._parts)
        pages = [(f"{n + 1} to {min(n + SHOWN, count)}", n) for n in range(0, max(count, 1), SHOWN)]
        with self._guard.suspend_handlers():
            for choice, options in ((self.answer, names), (self.page, pages)):
                if list(choice.options) != options:
                    old = choice.value
                    choice.options = options
                    choice.value = old if any(value == old for _, value in options) else options[0][1]
        self.page.layout.display = None if cell is not None and count > SHOWN else "none"


def _numbers(part: Part) -> str:
    return _ranges(part.samples if isinstance(part, Group) else (part[0],))


def _size(draft: Draft) -> tuple[int, int, str, bool]:
    return len(draft.text), len(draft.reasoning), draft.notice, draft.first_token is not None


class Beside(w.Box):  # type: ignore[misc]
    """At most two cells.

    :param changed: is called with the cell that was closed, or None, when the marks change.
    :param use: is called with a cell whose parameters are to be the session's.
    """

    def __init__(
        self,
        sweep: Sweep,
        guard: CallbackGuard,
        changed: Callable[[Cell | None], object],
        use: Callable[[Cell], object],
    ) -> None:
        self._guard, self._changed = guard, changed
        self._prompts, samples = len(sweep.grid.prompts) > 1, sweep.grid.samples
        self._compared: tuple[str, bool, str, bool] | None = None
        self.pin = look.button("Pin as baseline", tooltip="Keep this cell beside the next one that is opened")
        self.leave = look.button("Close", tooltip="Close the answers")
        self.unpin = look.button("Unpin", tooltip="Take the baseline away")
        self.baseline = Side("Baseline", samples, guard, self.show, self.unpin)
        self.use = look.button("Use these settings", tooltip="Ask with this cell's parameters from now on")
        self.use.on_click(guard.handler(lambda: self.opened.cell and use(self.opened.cell)))
        self.opened = Side("Opened", samples, guard, self.show, self.pin, self.use, self.leave)
        self.pin.on_click(guard.handler(self._pin))
        self.leave.on_click(guard.handler(self._leave))
        self.unpin.on_click(guard.handler(self._unpin))
        super().__init__([self.baseline, self.opened])
        self.add_class("chatglm-beside")
        self.show()

    def present(self, cell: Cell) -> None:
        """Show a cell's answers."""
        self.opened.take(cell, prompts=self._prompts)
        self._guard.show_status("")
        self.show()

    def mark(self, cell: Cell) -> str:
        """Return what a cell is here: ``open``, ``pinned``, both or neither."""
        words = (("open", self.opened.cell), ("pinned", self.baseline.cell))
        return ", ".join(word for word, other in words if other is cell)

    def show(self) -> None:
        """Bring both up to the sweep."""
        for side in (self.baseline, self.opened):
            side.show()
        cells = [side.cell for side in (self.baseline, self.opened) if side.cell is not None]
        self.layout.display = None if cells else "none"
        (self.add_class if len(cells) == 2 else self.remove_class)("chatglm-both")
        if len(cells) < 2:
            self._compared = None
            self.baseline.compare(None)
            self.opened.compare(None)
            return
        one, other = self.baseline, self.opened
        if self._compared != (found := (one.text, one.runs, other.text, other.runs)):
            self._compared = found
            one.compare(other.text)
            other.compare(one.text)

    def _pin(self) -> None:
        cell = self.opened.cell
        if cell is not None:
            self.baseline.take(cell, prompts=self._prompts)
            self.opened.take(None, prompts=self._prompts)
            self._guard.show_status(
                f"{title(cell, prompts=self._prompts)} is pinned: open another cell to compare."
            )
            self.show()
            self._changed(cell)

    def _leave(self) -> None:
        cell = self.opened.cell
        self.opened.take(None, prompts=self._prompts)
        self.show()
        self._changed(cell)

    def _unpin(self) -> None:
        self.baseline.take(None, prompts=self._prompts)
        self._guard.show_status("")
        self.show()
        self._changed(None)
