"""``python -m tests.flood [SECONDS]``: 2 000 tokens a second into a cell and a panel; what a page gets."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .support.pages import Page
from .support.servers import Asked, ScriptedServer, chunk
from .support.ticking import HEAD

RATE = 2000
"""Tokens a second."""
BLOCK = 0.01
"""Seconds between two writes of the server, each of an event for every token that is due."""
MOST_UPDATES = 12
"""A second, in any second."""
MOST_BYTES = {"cell": 20, "panel": 2}
"""Times the answer's own size."""
BENEATH = 60_000
"""Bytes that a panel sends once more for where there is no kernel, however long the answer is."""
PARAGRAPH = 60
"""Tokens."""


def tokens(seconds: float) -> Iterator[str]:
    """Give the answer's tokens: words of both languages, in paragraphs."""
    for number in range(int(RATE * seconds)):
        yield f"词{number}" if number % 7 == 0 else f"w{number}" + ("\n\n" if number % PARAGRAPH == 59 else " ")


class Flood:
    """Answers with so many seconds of tokens, at the rate, whatever the reader does."""

    def __init__(self, seconds: float) -> None:
        self.pieces = list(tokens(seconds))
        self.began = self.ended = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        """Answer one question."""
        connection.sendall(HEAD)
        events = [b"data: %s\n\n" % json.dumps(chunk(piece)).encode() for piece in self.pieces]
        self.began, sent = time.monotonic(), 0
        while sent < len(events):
            due = min(len(events), int((time.monotonic() - self.began) * RATE) + 1)
            connection.sendall(b"".join(events[sent:due]))
            sent = due
            time.sleep(BLOCK)
        self.ended = time.monotonic()
        end = json.dumps(chunk(None, finish_reason="stop")).encode()
        connection.sendall(b"data: %s\n\ndata: [DONE]\n\n" % end)
        connection.shutdown(socket.SHUT_WR)


@dataclass
class Figures:
    """What a page was sent for one answer.

    ``updates`` are changes of the place where the answer stands, ``peak`` their most in any second, ``bytes`` all
    that came over IOPub meanwhile, ``size`` the answer's own bytes, ``late`` the seconds from the answer's end to
    its last frame, ``lag`` how many seconds the server fell behind because its reader was slow.
    """

    where: str
    exact: bool
    updates: int
    peak: int
    bytes: int
    size: int
    seconds: float
    late: float
    lag: float

    def __str__(self) -> str:
        rate, times = self.updates / self.seconds, self.bytes / self.size
        return (
            f"{self.where}: final text {'exact' if self.exact else 'WRONG'}, {self.updates} updates in "
            f"{self.seconds:.1f} s ({rate:.1f}/s, at most {self.peak} in a second), {self.bytes} bytes on IOPub, "
            f"{times:.1f} times the answer's {self.size}; last frame {self.late:.2f} s after the last token, "
            f"server {self.lag:.2f} s behind its rate"
        )

    @property
    def good(self) -> bool:
        """Whether all promises are kept."""
        beneath = BENEATH if self.seconds < 30 else 0
        few = self.bytes <= MOST_BYTES[self.where] * self.size + beneath
        return self.exact and self.peak <= MOST_UPDATES and few


def _figures(where: str, flood: Flood, page: Page, begin: int, moments: list[float], exact: bool) -> Figures:
    sent = page.bytes_since(begin)
    peak = max(sum(moment <= other < moment + 1 for other in moments) for moment in moments)
    seconds, wanted = flood.ended - flood.began, len(flood.pieces) / RATE
    late = max(moments) - flood.ended
    size = len(flood.text.encode())
    return Figures(where, exact, len(moments), peak, sent, size, seconds, late, seconds - wanted)


def _patience(flood: Flood) -> float:
    return 60 + 2 * len(flood.pieces) / RATE


def into_cell(page: Page, flood: Flood) -> Figures:
    """Flood a cell."""
    begin = len(page.heard)
    ran = page.wait(page.send("%chatglm flood"), _patience(flood))
    shown = [h for h in page.heard[begin:] if h.kind in ("display_data", "update_display_data")]
    return _figures("cell", flood, page, begin, [heard.at for heard in shown], ran.displays == [flood.text])


def into_panel(page: Page, flood: Flood) -> Figures:
    """Flood a panel."""
    view = page.view(page.run("from chatglm_magic import panel\nshown = panel()\nshown"))
    begin = len(page.heard)
    view.send("flood")
    page.until_true(lambda: view.busy)
    view.until_free(_patience(flood))
    words, last = flood.text.split(), flood.pieces[-1].strip()
    page.until_true(lambda: view.holding(last))
    place = view.holding(last)[0]
    moments = [at for at, change in place.changes if change.get("value") and at >= flood.began]
    return _figures("panel", flood, page, begin, moments, place.text.split() == words)


Into = Callable[[Page, Flood], Figures]
"""What floods one of the two."""


def main(seconds: float) -> int:
    """Flood a cell and a panel of one kernel; return 1 if a promise was not kept."""
    good = True
    with tempfile.TemporaryDirectory() as home, Page(Path(home)) as page:
        for into in (into_cell, into_panel):
            flood = Flood(seconds)
            with ScriptedServer(flood) as server:
                page.run(f"get_session().reset(); get_session().settings.endpoint_url = {server.url + 'v1'!r}")
                figures = into(page, flood)
            print(figures, flush=True)
            good &= figures.good
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60))
