"""``python -m tests.flood SECONDS``: 2 000 tokens a second into a cell, and then into a panel.

Prints how often each was brought up to date, and what that cost on the kernel's IOPub channel; fails if a message
or a character is lost, or if there are more than twelve updates in any second.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from pathlib import Path

from .kernel.asking import at
from .kernel.page import Page
from .servers import Asked, ScriptedServer, chunk

RATE = 2000
"""Tokens a second."""
STEP = 20
"""Tokens that are sent at once."""
MOST = 12
"""Updates in any second."""


def token(number: int) -> str:
    """Return a token that tells its place; a line has fifty."""
    return f"t{number}" + ("\n\n" if number % 50 == 49 else " ")


def flood(tokens: int) -> tuple[str, object]:
    """Return a text, and the script of a server that streams it."""

    def script(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        for start in range(0, tokens, STEP):
            events = (json.dumps(chunk(token(number))) for number in range(start, min(start + STEP, tokens)))
            connection.sendall("".join(f"data: {event}\n\n" for event in events).encode())
            time.sleep(max(0.0, began + start / RATE - time.monotonic()))
        end = json.dumps(chunk(None, finish_reason="stop"))
        connection.sendall(f"data: {end}\n\ndata: [DONE]\n\n".encode())
        connection.shutdown(socket.SHUT_WR)

    return "".join(map(token, range(tokens))), script


def most_in_a_second(times: list[float]) -> int:
    """Return the highest number of moments within any second."""
    return max((sum(1 for other in times if 0 <= other - first < 1) for first in times), default=0)


def tell(where: str, times: list[float], size: int, text: str, *, whole: bool) -> bool:
    """Print what was measured; tell whether it is as promised."""
    most = most_in_a_second(times)
    print(
        f"{where}: {len(text)} characters, {'whole' if whole else 'NOT WHOLE'}; {len(times)} updates, at most "
        f"{most} in a second; {size / 2**20:.1f} MiB on IOPub, {size / len(text):.1f} × the text"
    )
    return whole and most <= MOST


def into_a_cell(page: Page, server: ScriptedServer, text: str, seconds: float) -> bool:
    """Ask in a cell."""
    at(page, server)
    begin = len(page.heard)
    ran = page.wait(page.send("%chatglm flood"), seconds * 3 + 60)
    shown = [h for h in page.heard[begin:] if h.message["msg_type"] in ("display_data", "update_display_data")]
    whole = ran.error is None and ran.displays[-1].split() == text.split()
    return tell("cell", [h.at for h in shown], page.bytes_since(begin), text, whole=whole)


def into_a_panel(page: Page, server: ScriptedServer, text: str, seconds: float) -> bool:
    """Ask in a panel."""
    at(page, server)
    view = page.view(page.run("%chatglm_panel"))
    begin, moment = len(page.heard), time.monotonic()
    view.send("flood")
    page.until_true(lambda: view.holding("t10 "), seconds + 60)
    view.until_free(seconds * 3 + 60)
    (answer,) = view.holding("t10 ")
    page.until_true(lambda: answer.text.count("t") >= text.count("t"), 30)
    times = [when for when, change in answer.changes if when >= moment and "value" in change]
    shown = [word for word in answer.text.split() if word[0] == "t" and word[1:].isdigit()]
    return tell("panel", times, page.bytes_since(begin), text, whole=shown == text.split())


def run(seconds: float, home: Path) -> bool:
    """Flood a cell and a panel; tell whether all is as promised."""
    text, script = flood(int(RATE * seconds))
    with ScriptedServer(script) as server, Page(home) as page:  # type: ignore[arg-type]
        return all([into_a_cell(page, server, text, seconds), into_a_panel(page, server, text, seconds)])


def main() -> int:
    """Return 1 if something was lost or came too often."""
    with tempfile.TemporaryDirectory() as home:
        return 0 if run(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0, Path(home)) else 1


if __name__ == "__main__":
    sys.exit(main())
