"""Run a sweep: start, wait, stop, resume, retry, and observe its progress."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from ..errors import ChatGLMError, Interrupted
from ..values import Turn
from .cells import CellGrid, Progress
from .grid import Grid
from .stats import is_failed, is_missing

if TYPE_CHECKING:
    from ..session import Session
    from .runner import SweepPlans, SweepRun

STOP_TIMEOUT_SECONDS = 1.0
"""How long to wait for a stopped run to end."""

DEFAULT_JOBS = 16

_last_sweep: list[SweepControl] = []


class SweepControl:
    """A grid, its cells and the run that fills them."""

    def __init__(self, grid: Grid, session: Session | None = None, jobs: int = DEFAULT_JOBS) -> None:
        self.grid = grid
        self.id = uuid.uuid4().hex[:12]
        self._cell_grid = CellGrid(grid)
        self._session, self._jobs = session, jobs
        self._run: SweepRun | None = None
        self._earlier_seconds = 0.0
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        raise TypeError("A sweep can't be pickled or copied: save() writes it to a file, sel() selects answers.")

    @property
    def session(self) -> Session | None:
        """The session whose model is used; None for a loaded sweep, which would use the current one."""
        return self._session

    @property
    def running(self) -> bool:
        """Whether requests are being sent; :attr:`complete` is whether all answers have been received."""
        return self._run is not None and self._run.is_active

    @property
    def complete(self) -> bool:
        """Whether every answer is complete."""
        return not self._cell_grid.find_slots(lambda turn: turn is None or turn.status != "complete")

    @property
    def progress(self) -> Progress:
        """How far the sweep is."""
        run = self._run
        with self._cell_grid.lock:
            turns = list(self._cell_grid.turns())
            seconds = run.seconds if run else 0.0
            return Progress(
                total=self.grid.requests,
                done=sum(turn.status == "complete" for turn in turns),
                failed=sum(is_failed(turn) for turn in turns),
                running=sum(len(cell.drafts) for cell in self._cell_grid.cells),
                seconds=seconds,
                left=run.seconds_left if run and run.is_active else None,
                pending=run.pending if run else 0,
                spent=self._earlier_seconds + seconds,
            )

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after changes, at most 12 times a second and always after the last one.

        It is called in the thread that sends the requests: a slow listener delays the answers.

        :returns: a function that removes the listener.
        """
        return self._cell_grid.listeners.add(listener)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the sweep has ended, or for ``timeout`` seconds, and display its progress; return the sweep.

        :raises Interrupted: for an interrupt, which stops the sweep; its answers are kept.
        :raises RuntimeError: on the thread that sends the requests, which would wait for itself.
        """
        from .waiting import wait_with_progress

        with self.stop_on_interrupt():
            if timeout is None:
                wait_with_progress(self)
            else:
                self.join(timeout)
        return self

    @contextmanager
    def stop_on_interrupt(self) -> Iterator[None]:
        """Stop the sweep if the code in this context is interrupted.

        :raises Interrupted: in place of the interrupt; the answers are kept.
        """
        try:
            yield
        except Interrupted:
            raise
        except KeyboardInterrupt:
            self.stop()
            progress = self.progress
            raise Interrupted(
                f"the sweep was stopped: {progress.done} of {progress.total} answers are kept. "
                "Its resume() requests the rest; chatglm_magic.sweeps.last() is the sweep."
            ) from None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the sweep has ended, or for ``timeout`` seconds, and display nothing.

        :raises KeyboardInterrupt: for an interrupt; the sweep continues.
        :raises RuntimeError: on the thread that sends the requests, which would wait for itself.
        """
        run = self._run
        if run is None:
            return
        if threading.get_ident() == run.thread:
            if run.is_over:
                return
            raise RuntimeError("This is the thread that sends the requests: read the sweep's .partial here.")
        run.wait(timeout)
        if run.future.done() and not run.future.cancelled():
            run.future.result()

    def stop(self) -> Self:
        """Cancel the running requests, wait at most a second for them, and keep the answers received."""
        run = self._run
        if run is not None and run.is_active:
            run.stop()
            if threading.get_ident() != run.thread:
                run.wait(STOP_TIMEOUT_SECONDS)
        return self

    def resume(self, *, wait: bool = True) -> Self:
        """Send what is missing: requests not sent yet, and those stopped before their end.

        :param wait: False returns at once.
        :raises ChatGLMError: if it is running, or if the session's parameters are not those of the answers.
        """
        return self._start(is_missing, wait=wait)

    def retry(self, *, wait: bool = True) -> Self:
        """Repeat the failed requests; otherwise as :meth:`resume`."""
        return self._start(lambda turn: turn is not None and is_failed(turn), wait=wait)

    def missing(self) -> int:
        """Return how many requests :meth:`resume` would send."""
        return len(self._cell_grid.find_slots(is_missing))

    def plan_requests(self) -> SweepPlans:
        """Plan the requests; nothing is sent.

        :raises ChatGLMError: for a value that no server accepts, or an invalid endpoint.
        """
        from ..session import get_session
        from .runner import SweepPlans

        before = self._run.plans.llm if self._run else None
        return SweepPlans(self._session or get_session(), self.grid.prompts[0], self.grid.settings, before)

    def _start(self, wanted: Callable[[Turn | None], bool], *, wait: bool) -> Self:
        from ..session import get_session
        from .runner import SweepRun, refuse_different_request

        with self._lock:
            with self._cell_grid.lock:
                running, slots = self.running, self._cell_grid.find_slots(wanted)
            if running:
                raise ChatGLMError("The sweep is running: stop() ends that, wait() waits.", kind="busy")
            if slots:
                session = self._session or get_session()
                plans = self.plan_requests()
                for number, cell in enumerate(self._cell_grid.cells):
                    for turn in cell.received[:1]:
                        refuse_different_request(plans.base(number, cell.prompt), turn)
                run = SweepRun(self._cell_grid, plans, slots, self._jobs, self.id)
                before, self._run = self._run, run
                try:
                    run.start(session)
                except BaseException:
                    run.stop()
                    self._run = before  # nothing runs, so that the sweep can be resumed
                    raise
                self._earlier_seconds += before.seconds if before is not None else 0.0
                _last_sweep[:] = [self]
        return self.wait() if wait else self


def last() -> SweepControl | None:
    """Return the sweep that was started or resumed last, for example after an interrupt."""
    return _last_sweep[0] if _last_sweep else None
