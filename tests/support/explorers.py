"""An explorer in this process, as a reader meets it, over a sweep that asks a scripted server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import ipywidgets as w

from chatglm_magic import Session
from chatglm_magic.sweeps import Sweep
from chatglm_magic.sweeps.prepare import prepare_sweep
from chatglm_magic.widgets import sweep_explorer
from chatglm_magic.widgets.explorer import Explorer
from chatglm_magic.widgets.explorer.box import describe_outcome
from chatglm_magic.widgets.explorer.grid import GridWidget
from chatglm_magic.widgets.trouble import StatusWidget

from .panels import click, send_to, set_value, visible_text, wait_until, walk_widgets
from .servers import ScriptedServer
from .sweeps import open_session
from .timers import HeldSleep


def start_sweep(
    server: ScriptedServer,
    prompt: Any = "p",
    *,
    samples: int = 1,
    jobs: int = 16,
    path: str = "",
    session: Session | None = None,
    **axes: Any,
) -> Sweep:
    """Begin a sweep over a server, in a session of its own unless one is given, and return at once."""
    if session is None:
        session = open_session(server.url + path)
    session.settings.endpoint_url = server.url + path
    found = prepare_sweep(prompt, axes, samples=samples, jobs=jobs, session=session, resume=None)
    found.resume(wait=False)
    return found


def run_sweep(server: ScriptedServer, prompt: Any = "p", **options: Any) -> Sweep:
    """Sweep to the end."""
    return start_sweep(server, prompt, **options).wait(20)


@dataclass(frozen=True)
class Tile:
    """A cell of the grid as a page shows it: ``face`` has its figure, state, answer and facts, a line each."""

    number: int
    title: str
    classes: tuple[str, ...]
    ground: str
    html: str

    @property
    def face(self) -> str:
        lines = re.findall(r'<span class="chatglm-(\w+)">(.*?)</span>', self.html, re.DOTALL)
        return "\n".join(unescape(text) for _, text in lines)


def tiles_of(grid: Any) -> list[Tile]:
    """Return what a grid's cells show, in the order in which they are on the page."""
    places = re.findall(r'data-n="(\d+)" title="(.*?)"', grid.html)
    states = [grid.tiles[number] for number, _ in places]
    return [
        Tile(int(number), unescape(title), tuple(state["classes"].split()), state["ground"], state["html"])
        for (number, title), state in zip(places, states, strict=True)
    ]


class Explored:
    """An explorer as a reader meets it: by the names of its buttons, and by its cells' values."""

    def __init__(self, sweep: Sweep, sleep: HeldSleep | None = None) -> None:
        self.sweep = sweep
        self.box = sweep_explorer(sweep) if sleep is None else Explorer(sweep, sleep=sleep)

    def seen(self, widget: Any = None) -> Iterator[Any]:
        """Yield what is not hidden."""
        widget = widget or self.box
        if widget.layout.display != "none":
            yield widget
            for child in getattr(widget, "children", ()):
                yield from self.seen(child)

    def named(self, name: str) -> Any:
        """Return the button or dropdown of a name that can be seen."""
        found = [widget for widget in self.seen() if getattr(widget, "description", None) == name]
        assert found, f"there is no {name!r}"
        return found[0]

    def has(self, name: str) -> bool:
        """Tell whether a button or dropdown of a name can be seen."""
        return any(getattr(widget, "description", None) == name for widget in self.seen())

    def click(self, name: str) -> None:
        """Press a button."""
        button = self.named(name)
        assert not button.disabled, f"{name!r} can't be pressed"
        click(button)

    def choose(self, name: str, label: str) -> None:
        """Choose what a dropdown calls so."""
        dropdown = self.named(name)
        set_value(dropdown, dict(zip(dropdown._options_labels, dropdown._options_values, strict=True))[label])

    @property
    def tiles(self) -> list[Tile]:
        """The cells, in the order in which they are on the page."""
        return [tile for grid in self.seen() if isinstance(grid, GridWidget) for tile in tiles_of(grid)]

    @property
    def faces(self) -> list[str]:
        """What is written in the cells."""
        return [tile.face for tile in self.tiles]

    def tile(self, values: str) -> Tile:
        """Return the cell with these values, as ``temperature 0.5, top_p 0.9``."""
        return next(tile for tile in self.tiles if tile.title == values)

    def open(self, values: str) -> None:
        """Click on a cell."""
        send_to(self.box.grid, open=self.tile(values).number)

    @property
    def html(self) -> str:
        """The source of all that is written and can be seen, without the style sheet."""
        found = [widget for widget in self.seen() if isinstance(widget, w.HTML | w.HTMLMath | GridWidget)]
        return "\n".join(widget.html if isinstance(widget, GridWidget) else widget.value for widget in found)

    @property
    def text(self) -> str:
        """All that is written, apart from the names of buttons."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())

    def told(self, text: str) -> None:
        """Wait until a status line says something."""
        lines = [widget for widget in self.widgets() if isinstance(widget, StatusWidget)]
        wait_until(
            lambda: any(text in visible_text(line) for line in lines),
            f"{text!r} in {[visible_text(line) for line in lines]}",
        )

    @property
    def running(self) -> bool:
        """Whether the page says that requests are under way: Stop is there."""
        return self.has("Stop")

    def ended(self) -> None:
        """Wait until the page shows that nothing is under way."""
        wait_until(lambda: not self.running and not self.sweep.running, "the end of the sweep")
        self.told(describe_outcome(self.sweep.progress)[0])

    def widgets(self) -> list[Any]:
        """Return every widget, hidden ones too."""
        return list(walk_widgets(self.box))


@contextmanager
def open_explorer(sweep: Sweep) -> Iterator[Explored]:
    """Yield an explorer of a sweep; the sweep is stopped afterwards."""
    shown = Explored(sweep)
    try:
        yield shown
    finally:
        sweep.stop()
        shown.box.close()
