"""The panel: sliders, a prompt, Send and Stop, the streamed answer, and the turns so far."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from typing import Any

import ipywidgets as w

from ..errors import ChatGLMError
from ..render.bundle import escape, html, live_html, speed
from ..render.views import Throttle
from ..session import Session
from ..session.draft import Draft
from ..values import Answer, Turn
from .parameters import sampling_rows

TURNS_SHOWN = 20
SMALL = "color:var(--jp-ui-font-color2,#616161);font-size:.9em"


class Panel(w.VBox):  # type: ignore[misc]
    """A panel over a session; several may show the same one.

    Questions run on the package's loop thread, so that the kernel stays free; callbacks return at once and
    stand being called in whichever thread the kernel chooses.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.RLock()
        self._job: Future[Answer] | None = None
        self._view: _PanelView | None = None
        self._rows = sampling_rows(session)
        self._prompt = w.Textarea(
            description="Prompt", placeholder="Ask the model…", layout=w.Layout(width="auto", height="5.5em")
        )
        self._prompt.style.description_width = "6.5em"
        self._send = w.Button(description="Send", button_style="primary", layout=w.Layout(width="7em"))
        self._stop = w.Button(description="Stop", disabled=True, layout=w.Layout(width="7em"))
        self._status = w.HTML()
        self._answer = w.HTMLMath(layout=w.Layout(padding="0 .2em"))
        self._turns = w.HTMLMath(layout=w.Layout(max_height="22em", overflow="auto"))
        self._send.on_click(self._on_send)
        self._stop.on_click(self._on_stop)
        self._say(f"Ready. Questions go to {session.settings.endpoint_url}")
        self._forget = session.on_change(self._list_turns)
        self._list_turns()
        buttons = w.HBox([self._send, self._stop, self._status], layout=w.Layout(align_items="center"))
        super().__init__(
            [*self._rows, self._prompt, buttons, self._answer, self._turns],
            layout=w.Layout(max_width="60em", padding=".3em"),
        )

    def close(self) -> None:
        """Stop the answer under way and stop following the session."""
        self._on_stop(None)
        self._forget()
        for row in self._rows:
            row.forget()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the panel where widgets can't be shown, with a text that never varies."""
        text = "chatglm panel: run %chatglm_panel in a notebook to use it."
        return {**(super()._repr_mimebundle_(**kwargs) or {}), "text/plain": text, "text/html": f"<p>{text}</p>"}

    def _on_send(self, button: Any) -> None:
        """Ask; a second click while an answer is under way does nothing."""
        with self._lock:
            if self._job is not None or not self._prompt.value.strip():
                return
            view = _PanelView(self)
            try:
                question = self._session.aask(self._prompt.value, view=view)
            except ChatGLMError as error:
                self._say(str(error), failed=True)
                return
            self._send.disabled, self._stop.disabled = True, False
            self._answer.value, self._view = "", view
            self._say("Waiting for the first token…")
            self._job = self._session.submit(question)
        self._job.add_done_callback(self._done)

    def _on_stop(self, button: Any) -> None:
        """Cancel the answer under way; what has arrived stays."""
        with self._lock:
            if self._job is not None:
                self._job.cancel()

    def _done(self, job: Future[Answer]) -> None:
        with self._lock:
            self._job = None
            self._send.disabled, self._stop.disabled = False, True
            self._say_again()
        try:
            error = job.exception()
        except CancelledError:
            self._say("Stopped; what had arrived is kept.")
            return
        if error is not None:
            self._say(f"{type(error).__name__}: {error}", failed=True)

    def _say(self, text: str, *, failed: bool = False) -> None:
        style = "color:var(--jp-error-color1,#b71c1c)" if failed else SMALL
        self._status.value = f'<div role="status" aria-live="polite" style="{style}">{escape(text)}</div>'

    def _list_turns(self) -> None:
        turns = self._session.turns
        older = (
            f"<p style='{SMALL}'>{len(turns) - TURNS_SHOWN} earlier turns</p>" if len(turns) > TURNS_SHOWN else ""
        )
        rows = "".join(_row(number, turn) for number, turn in list(enumerate(turns, 1))[-TURNS_SHOWN:][::-1])
        heading = f"<p style='{SMALL};margin:.8em 0 .2em'><b>Turns so far</b> ({len(turns)})</p>" if turns else ""
        self._turns.value = heading + rows + older

    def _frame(self, draft: Draft) -> int:
        """Show the answer so far; return the size of what was sent to the page."""
        if self._stop.disabled:
            return 0
        self._answer.value = live_html(draft.text, draft.reasoning)
        self._say(draft.notice or "Answering…")
        self._say_again()
        return len(self._answer.value)

    def _say_again(self) -> None:
        """Send the buttons' state once more: a page that has just opened asks for the state of all widgets, and
        may put that older answer over a newer update."""
        for button in (self._send, self._stop):
            button.send_state("disabled")

    def _finish(self, turn: Turn) -> None:
        self._answer.value = html(turn) if turn.answer or turn.reasoning else ""
        if turn.status == "complete":
            self._say(f"Done in {speed(turn)}")


class _PanelView:
    """Shows an answer in a panel; called on the loop thread."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._throttle = Throttle()

    def update(self, draft: Draft) -> None:
        """Show the answer so far, if it is time to."""
        if self._panel._view is self and self._throttle.ready():
            began = time.monotonic()
            size = self._panel._frame(draft)
            self._throttle.spent(size, time.monotonic() - began)

    def close(self, turn: Turn) -> None:
        """Show the whole turn, unless another question has been sent meanwhile."""
        if self._panel._view is self:
            self._panel._finish(turn)


def _row(number: int, turn: Turn) -> str:
    """Return one turn as a line that opens to its answer; all of it escaped or cleaned."""
    first = " ".join(turn.prompt.split())
    short = first if len(first) <= 80 else first[:79] + "…"
    mark = "" if turn.status == "complete" else f" ({turn.status})"
    style = "border-top:1px solid var(--jp-border-color2,#e0e0e0);padding:.25em 0"
    summary = f"<summary style='cursor:pointer'>{number}. {escape(short)}{mark}</summary>"
    return f"<details style='{style}'>{summary}{html(turn)}</details>"
