"""What the viewer shows: a search, filters, a conversation, an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...errors import ParameterError
from ...parameters import parameter_names
from ...store import Query
from .. import look
from .calls import CallbackGuard

if TYPE_CHECKING:
    from ...store.query import Order, Range

ANY = "any"
STATUSES = ("complete", "incomplete", "interrupted", "error", "superseded")
KINDS = ("chat", "sweep", "live")
ORDERS: dict[str, tuple[Order, bool]] = {
    "newest first": ("newest", False),
    "oldest first": ("newest", True),
    "in the conversation's order": ("position", False),
    "slowest first": ("duration", True),
    "most tokens first": ("tokens", True),
    "highest temperature first": ("temperature", True),
    "highest top_p first": ("top_p", True),
}


class Filters(w.VBox):  # type: ignore[misc]
    """The search and the filters; ``changed`` is called when one is changed, ``typed`` while a search is typed."""

    def __init__(self, guard: CallbackGuard, changed: Callable[[], object], typed: Callable[..., None]) -> None:
        self._guard = guard
        self.text = look.label_above(
            w.Text(description="Search", placeholder="words of prompt, answer or reasoning")
        )
        self.order = look.label_above(w.Dropdown(description="Order", options=list(ORDERS)))
        self.more = w.ToggleButton(description="Filters", tooltip="Show or hide the filters")
        self.model = guard.make_atomic(_choice("Model", ()))
        self.status = _choice("Status", STATUSES)
        self.kind = _choice("Kind", KINDS)
        self.since = look.label_above(w.DatePicker(description="Since"))
        self.until = look.label_above(w.DatePicker(description="Until"))
        self.ranges = {
            name: (_number(f"{name} from"), _number(f"{name} to")) for name in parameter_names("sampling")
        }
        self.clear = look.button("Clear filters")
        numbers = [box for pair in self.ranges.values() for box in pair]
        self._boxes = [self.model, self.status, self.kind, self.since, self.until, *numbers]
        pairs = [(self.since, self.until), *self.ranges.values()]
        self._grid = w.Box(
            [self.model, self.status, self.kind, *(_pair(*pair) for pair in pairs), self.clear],
            layout=w.Layout(display="none"),
        )
        self._grid.add_class("chatglm-filters")
        super().__init__([self._grid])
        self.text.observe(typed, names="value")
        self.more.observe(guard.handler(self._fold), names="value")
        self.clear.on_click(guard.handler(lambda: self._clear(changed)))
        for box in (self.order, *self._boxes):
            box.observe(guard.handler(changed), names="value")

    @property
    def active(self) -> int:
        """How many filters are set; the search is none of them."""
        return sum(box.value not in (None, "", ANY) for box in self._boxes)

    def query(self, conversation: str | None) -> Query:
        """Return what is asked for, of one conversation or of all.

        :raises ParameterError: for a number or a date that can't be understood.
        """
        order, reverse = ORDERS[self.order.value]
        ranges: dict[str, Any] = {name: self._range(name) for name in self.ranges}
        return Query(
            text=self.text.value.strip() or None,
            conversation=conversation,
            model=_chosen(self.model),
            status=_chosen(self.status),
            kind=_chosen(self.kind),
            since=self.since.value and self.since.value.isoformat(),
            until=self.until.value and self.until.value.isoformat(),
            **ranges,
            order=order,
            reverse=reverse,
        )

    def show_models(self, models: list[str]) -> None:
        """Offer models to choose from; the choice stays as it is."""
        chosen = self.model.value
        options = [ANY, *models, *([chosen] if chosen not in (ANY, *models) else [])]
        with self._guard.suspend_handlers():
            if list(self.model.options) != options:
                self.model.options = options
                self.model.value = chosen
            self.more.description = f"Filters ({self.active})" if self.active else "Filters"

    def _range(self, name: str) -> Range | None:
        low, high = (_float(box) for box in self.ranges[name])
        return None if low is None and high is None else (low, high)

    def _fold(self) -> None:
        self._grid.layout.display = None if self.more.value else "none"

    def _clear(self, changed: Callable[[], object]) -> None:
        with self._guard.suspend_handlers():
            for box in self._boxes:
                box.value = ANY if isinstance(box, w.Dropdown) else "" if isinstance(box, w.Text) else None
        changed()


def _choice(name: str, options: tuple[str, ...]) -> Any:
    return look.label_above(w.Dropdown(description=name, options=[ANY, *options]))


def _number(name: str) -> Any:
    return look.label_above(w.Text(description=name, continuous_update=False))


def _pair(low: Any, high: Any) -> w.Box:
    box = w.Box([low, high])
    box.add_class("chatglm-pair")
    return box


def _chosen(box: Any) -> str | None:
    return None if box.value == ANY else str(box.value)


def _float(box: Any) -> float | None:
    """Return a box's number; None if it is empty.

    :raises ParameterError: if it holds something else.
    """
    typed = box.value.strip()
    try:
        return float(typed) if typed else None
    except ValueError:
        raise ParameterError(f"{box.description}: {typed!r} isn't a number.") from None
