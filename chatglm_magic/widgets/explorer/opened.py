"""The answers of the opened cell and a pinned baseline: equal ones merged, differences highlighted."""

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
from ..answer import turn_html
from ..viewer.calls import CallbackGuard
from .grid import cell_title

ANSWERS_PER_PAGE = 20
"""Answers displayed at once; a dropdown selects the others."""
MAX_CHARACTERS = 200_000
"""Limit of a text that is sent to a page; the rest is only counted."""

CellPart = Group | tuple[int, Draft]
"""One part of a cell: equal finished answers, or the number of a sample and its partial answer."""


def list_parts(cell: Cell) -> list[CellPart]:
    """Return the parts of a cell, ordered by sample."""
    parts: list[CellPart] = [*cell.groups, *cell.drafts.items()]
    return sorted(parts, key=_first_sample)


def part_html(cell: Cell, part: CellPart) -> str:
    """Return a part as safe HTML: the answer so far, its error if any, then its name and facts."""
    if isinstance(part, Group):
        body = _answer_html(part.turn)
    else:
        draft = part[1]
        body = live_html(
            draft.text[:MAX_CHARACTERS], draft.reasoning[:MAX_CHARACTERS], draft.notice
        ) + _omission_html(draft.text)
    return _labelled_html(cell, part, body)


def _labelled_html(cell: Cell, part: CellPart, body: str) -> str:
    """Return an answer's HTML as a named group, with its name and facts in a small line below."""
    if isinstance(part, Group):
        name, facts = _part_name(cell, part.samples), facts_line(part.turn)
    else:
        name, began = _part_name(cell, (part[0],)), part[1].first_token is not None
        facts = f"running · {len(part[1].text)} characters" if began else "sent · no token yet"
    label = " · ".join(text for text in (name, facts) if text)
    group = escape_html(name or "Answer")
    return (
        f'<div role="group" aria-label="{group}">{body}</div><div class="chatglm-label">{escape_html(label)}</div>'
    )


def facts_line(turn: Turn) -> str:
    """Return one line about how an answer ended, and how long it is."""
    tokens, size = completion_tokens(turn), len(turn.answer)
    parts: list[str] = [turn.status] if turn.status != "complete" else []
    parts.append(plural(size, "character"))
    if tokens:
        parts.append(plural(tokens, "token"))
    if turn.finish_reason and turn.finish_reason != "stop":
        parts.append(f"finish: {one_line(turn.finish_reason, 40)}")
    parts += [f"changed: {one_line(change, 200)}" for change in turn.changed]
    return " · ".join(parts)


def _first_sample(part: CellPart) -> int:
    return part.samples[0] if isinstance(part, Group) else part[0]


def _part_text(part: CellPart) -> str:
    return (part.turn.answer if isinstance(part, Group) else part[1].text)[:MAX_CHARACTERS]


def _part_name(cell: Cell, samples: tuple[int, ...]) -> str:
    """Return the name of a part by its samples; empty for the only sample of a cell."""
    if len(cell.turns) == 1:
        return ""
    if len(samples) == len(cell.turns):
        return f"{len(samples)} × the same"
    listed = f"Sample{'s' * (len(samples) > 1)} {_format_ranges(samples)}"
    return f"{len(samples)} × the same · {listed}" if len(samples) > 1 else listed


def _format_ranges(samples: tuple[int, ...]) -> str:
    """Return zero-based numbers as one-based ranges: ``1–3, 5``."""
    runs: list[list[int]] = []
    for number in samples:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0] + 1}–{run[-1] + 1}" if len(run) > 1 else str(run[0] + 1) for run in runs)


def _answer_html(turn: Turn) -> str:
    cut = replace(turn, answer=turn.answer[:MAX_CHARACTERS], reasoning=turn.reasoning[:MAX_CHARACTERS])
    error = f'<p class="chatglm-failed">{escape_html(one_line(turn.error))}</p>' if turn.error else ""
    return turn_html(cut) + _omission_html(turn.answer) + error


def _omission_html(text: str) -> str:
    omitted = len(text) - MAX_CHARACTERS
    return look.small_html(f"… {omitted:,} more characters: the sweep's turns have them.") if omitted > 0 else ""


class CellPane(w.VBox):  # type: ignore[misc]
    """One cell with its answers, hidden while there is no cell.

    :param name: the cell's role, such as ``Baseline``.
    :param samples: number of samples in each cell.
    :param on_change: called when another answer is selected for the comparison.
    """

    def __init__(
        self, name: str, samples: int, guard: CallbackGuard, on_change: Callable[[], object], *buttons: w.Button
    ) -> None:
        self.cell: Cell | None = None
        self._name, self._samples, self._guard = name, samples, guard
        self._parts: list[CellPart] = []
        self._drawn_keys: dict[int, object] = {}
        self._has_marks = False
        self.heading, self.differences, self.missing = look.Html(), look.Html(), look.Html()
        self.answer = w.Dropdown(description=f"{name}: compared answer")
        self.page = w.Dropdown(options=[("", 0)], description=f"{name}: answers shown")
        self.answer.observe(guard.handler(on_change), names="value")
        self.page.observe(guard.handler(self.show), names="value")
        self.panes = [
            look.with_class(look.Typeset(), "chatglm-sample") for _ in range(min(ANSWERS_PER_PAGE, samples))
        ]
        choices = look.row(look.label_above(self.answer), look.label_above(self.page))
        parts = [look.row(self.heading, look.row(*buttons)), choices, self.differences, *self.panes, self.missing]
        super().__init__(parts)
        self.add_class("chatglm-card")
        self.add_class("chatglm-side")
        self.show_cell(None, prompts=False)

    def show_cell(self, cell: Cell | None, *, prompts: bool) -> None:
        """Show a cell, or nothing; ``prompts`` says whether its title includes the prompt."""
        self.cell = cell
        self.layout.display = None if cell is not None else "none"
        if cell is not None:
            self.heading.value = look.heading_html(f"{self._name}: {cell_title(cell, prompts=prompts)}", 4)
        self.show()

    def show(self) -> None:
        """Update the answers from the cell; only those that have changed are drawn again."""
        self._parts = list_parts(self.cell) if self.cell is not None else []
        self._update_dropdowns()
        for place, pane in enumerate(self.panes):
            number = self.page.value + place
            part = self._parts[number] if number < len(self._parts) else None
            key = (self.cell, part if isinstance(part, Group) else part and (part[0], _draft_state(part[1])))
            if self._drawn_keys.get(place) == key:
                continue
            self._drawn_keys[place] = key
            pane.value = part_html(self.cell, part) if self.cell is not None and part is not None else ""
        self._arrange_panes()
        started = sum(turn is not None for turn in self.cell.turns) + len(self.cell.drafts) if self.cell else 0
        unsent = self._samples - started
        notice = f"{plural(unsent, 'request')} not sent yet"
        self.missing.value = look.small_html(notice) if self.cell is not None and unsent else ""

    @property
    def text(self) -> str:
        """The text of the compared answer."""
        part = self._compared_part
        return _part_text(part) if part is not None else ""

    @property
    def is_running(self) -> bool:
        """Whether the compared answer is still streaming."""
        return isinstance(self._compared_part, tuple) and not isinstance(self._compared_part, Group)

    @property
    def _compared_part(self) -> CellPart | None:
        return next((part for part in self._parts if _first_sample(part) == self.answer.value), None)

    def mark_differences(self, other: str | None) -> None:
        """Highlight what of the compared answer is missing in ``other``, in its place; None highlights nothing."""
        self.answer.layout.display = None if other is not None and len(self._parts) > 1 else "none"
        self._has_marks = other is not None and other != self.text
        words, body, part = "" if other is None else "The same in both", "", self._compared_part
        if other is not None and self._has_marks:
            html, share = highlight_changes(other, self.text)
            self._has_marks = share < MAX_HIGHLIGHTED_SHARE
            words = "Differences highlighted" if self._has_marks else "A different answer"
            if self._has_marks and self.cell is not None and part is not None:
                body = _labelled_html(self.cell, part, f'<div class="chatglm-marked">{html}</div>')
        self.differences.value = f'<div class="chatglm-label">{words}</div>{body}' if words else ""
        self._arrange_panes()

    def _arrange_panes(self) -> None:
        """Show a pane for each part, except the one that the highlighted answer replaces."""
        for place, pane in enumerate(self.panes):
            number = self.page.value + place
            part = self._parts[number] if number < len(self._parts) else None
            marked = self._has_marks and part is not None and _first_sample(part) == self.answer.value
            pane.layout.display = "none" if part is None or marked else None

    def _update_dropdowns(self) -> None:
        """Update the options of the dropdowns; a selection stays if it still exists."""
        cell = self.cell
        names = [(_option_label(part), _first_sample(part)) for part in self._parts] or [("–", -1)]
        count = len(self._parts)
        starts = range(0, max(count, 1), ANSWERS_PER_PAGE)
        pages = [(f"{start + 1} to {min(start + ANSWERS_PER_PAGE, count)}", start) for start in starts]
        with self._guard.suspend_handlers():
            for choice, options in ((self.answer, names), (self.page, pages)):
                if list(choice.options) != options:
                    old = choice.value
                    choice.options = options
                    choice.value = old if any(value == old for _, value in options) else options[0][1]
        self.page.layout.display = None if cell is not None and count > ANSWERS_PER_PAGE else "none"


def _option_label(part: CellPart) -> str:
    samples = part.samples if isinstance(part, Group) else (part[0],)
    return f"sample{'s' * (len(samples) > 1)} {_format_ranges(samples)}"


def _draft_state(draft: Draft) -> tuple[int, int, str, bool]:
    return len(draft.text), len(draft.reasoning), draft.notice, draft.first_token is not None


class CellDetails(w.Box):  # type: ignore[misc]
    """The opened cell, and the baseline if one is pinned.

    :param on_change: called with the cell that was closed, or None, when the marked cells change.
    :param use: called with a cell whose parameters the session should use.
    """

    def __init__(
        self,
        sweep: Sweep,
        guard: CallbackGuard,
        on_change: Callable[[Cell | None], object],
        use: Callable[[Cell], object],
    ) -> None:
        self._guard, self._on_change = guard, on_change
        self._prompts, samples = len(sweep.grid.prompts) > 1, sweep.grid.samples
        self._compared_texts: tuple[str, bool, str, bool] | None = None
        self.pin = look.button("Pin as baseline", tooltip="Keep this cell beside the next one that is opened")
        self.close_button = look.button("Close", tooltip="Close the answers")
        self.unpin = look.button("Unpin", tooltip="Take the baseline away")
        self.baseline = CellPane("Baseline", samples, guard, self.show, self.unpin)
        self.use = look.button("Use these settings", tooltip="Ask with this cell's parameters from now on")
        self.use.on_click(guard.handler(lambda: self.opened.cell and use(self.opened.cell)))
        self.opened = CellPane("Opened", samples, guard, self.show, self.pin, self.use, self.close_button)
        self.pin.on_click(guard.handler(self._pin))
        self.close_button.on_click(guard.handler(self._close_opened))
        self.unpin.on_click(guard.handler(self._unpin))
        super().__init__([self.baseline, self.opened])
        self.add_class("chatglm-beside")
        self.show()

    def open_cell(self, cell: Cell) -> None:
        """Open a cell and show its answers."""
        self.opened.show_cell(cell, prompts=self._prompts)
        self._guard.show_status("")
        self.show()

    def mark(self, cell: Cell) -> str:
        """Return ``open``, ``pinned``, both, or an empty text for a cell."""
        words = (("open", self.opened.cell), ("pinned", self.baseline.cell))
        return ", ".join(word for word, marked in words if marked is cell)

    def show(self) -> None:
        """Update both cells from the sweep."""
        for pane in (self.baseline, self.opened):
            pane.show()
        cells = [pane.cell for pane in (self.baseline, self.opened) if pane.cell is not None]
        self.layout.display = None if cells else "none"
        (self.add_class if len(cells) == 2 else self.remove_class)("chatglm-both")
        if len(cells) < 2:
            self._compared_texts = None
            self.baseline.mark_differences(None)
            self.opened.mark_differences(None)
            return
        baseline, opened = self.baseline, self.opened
        texts = (baseline.text, baseline.is_running, opened.text, opened.is_running)
        if self._compared_texts != texts:
            self._compared_texts = texts
            baseline.mark_differences(opened.text)
            opened.mark_differences(baseline.text)

    def _pin(self) -> None:
        cell = self.opened.cell
        if cell is not None:
            self.baseline.show_cell(cell, prompts=self._prompts)
            self.opened.show_cell(None, prompts=self._prompts)
            title = cell_title(cell, prompts=self._prompts)
            self._guard.show_status(f"{title} is pinned: open another cell to compare.")
            self.show()
            self._on_change(cell)

    def _close_opened(self) -> None:
        cell = self.opened.cell
        self.opened.show_cell(None, prompts=self._prompts)
        self.show()
        self._on_change(cell)

    def _unpin(self) -> None:
        self.baseline.show_cell(None, prompts=self._prompts)
        self._guard.show_status("")
        self.show()
        self._on_change(None)
