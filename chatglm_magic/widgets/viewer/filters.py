"""The viewer's search box, filters and order."""

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
    """The search and the filters.

    :param on_change: is called when a filter or the order is changed.
    :param on_type: is called while a search is typed.
    """

    def __init__(
        self, guard: CallbackGuard, on_change: Callable[[], object], on_type: Callable[..., None]
    ) -> None:
        self._guard = guard
        placeholder = "words of prompt, answer or reasoning"
        self.text = look.label_above(w.Text(description="Search", placeholder=placeholder))
        self.order = look.label_above(w.Dropdown(description="Order", options=list(ORDERS)))
        self.more = w.ToggleButton(description="Filters", tooltip="Show or hide the filters")
        self.model = guard.make_atomic(_dropdown("Model", ()))
        self.status = _dropdown("Status", STATUSES)
        self.kind = _dropdown("Kind", KINDS)
        self.since = look.label_above(w.DatePicker(description="Since"))
        self.until = look.label_above(w.DatePicker(description="Until"))
        self.ranges = {
            name: (_number_box(f"{name} from"), _number_box(f"{name} to")) for name in parameter_names("sampling")
        }
        self.clear = look.button("Clear filters")
        numbers = [box for pair in self.ranges.values() for box in pair]
        self._boxes = [self.model, self.status, self.kind, self.since, self.until, *numbers]
        pairs = [(self.since, self.until), *self.ranges.values()]
        self._grid = w.Box(
            [self.model, self.status, self.kind, *(_pair_box(*pair) for pair in pairs), self.clear],
            layout=w.Layout(display="none"),
        )
        self._grid.add_class("chatglm-filters")
        super().__init__([self._grid])
        self.text.observe(on_type, names="value")
        self.more.observe(guard.handler(self._toggle), names="value")
        self.clear.on_click(guard.handler(lambda: self._clear(on_change)))
        for box in (self.order, *self._boxes):
            box.observe(guard.handler(on_change), names="value")

    @property
    def active_count(self) -> int:
        """The number of filters that are set, without the search."""
        return sum(box.value not in (None, "", ANY) for box in self._boxes)

    def query(self, conversation: str | None) -> Query:
        """Return the query for one conversation, or for all of them.

        :raises ParameterError: if a number or a date is invalid.
        """
        order, reverse = ORDERS[self.order.value]
        ranges: dict[str, Any] = {name: self._range(name) for name in self.ranges}
        return Query(
            text=self.text.value.strip() or None,
            conversation=conversation,
            model=_selected_option(self.model),
            status=_selected_option(self.status),
            kind=_selected_option(self.kind),
            since=self.since.value and self.since.value.isoformat(),
            until=self.until.value and self.until.value.isoformat(),
            **ranges,
            order=order,
            reverse=reverse,
        )

    def update_models(self, models: list[str]) -> None:
        """Update the models to choose from without changing the selected one."""
        selected = self.model.value
        options = [ANY, *models, *([selected] if selected not in (ANY, *models) else [])]
        with self._guard.suspend_handlers():
            if list(self.model.options) != options:
                self.model.options = options
                self.model.value = selected
            self.more.description = f"Filters ({self.active_count})" if self.active_count else "Filters"

    def _range(self, name: str) -> Range | None:
        low, high = (_read_number(box) for box in self.ranges[name])
        return None if low is None and high is None else (low, high)

    def _toggle(self) -> None:
        self._grid.layout.display = None if self.more.value else "none"

    def _clear(self, on_change: Callable[[], object]) -> None:
        with self._guard.suspend_handlers():
            for box in self._boxes:
                box.value = ANY if isinstance(box, w.Dropdown) else "" if isinstance(box, w.Text) else None
        on_change()


def _dropdown(name: str, options: tuple[str, ...]) -> Any:
    return look.label_above(w.Dropdown(description=name, options=[ANY, *options]))


def _number_box(name: str) -> Any:
    return look.label_above(w.Text(description=name, continuous_update=False))


def _pair_box(low: Any, high: Any) -> w.Box:
    box = w.Box([low, high])
    box.add_class("chatglm-pair")
    return box


def _selected_option(box: Any) -> str | None:
    return None if box.value == ANY else str(box.value)


def _read_number(box: Any) -> float | None:
    """Return the number in a text box, or None if the box is empty.

    :raises ParameterError: if the text isn't a number.
    """
    text = box.value.strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise ParameterError(f"{box.description}: {text!r} isn't a number.") from None
