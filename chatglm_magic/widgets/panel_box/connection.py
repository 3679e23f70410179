"""The state of the connection to the server: a dot, a name and a sentence in the panel's header."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ...render.text import one_line
from ...session import Session
from ..trouble import ErrorReporter
from ..words import reword_for_widgets

if TYPE_CHECKING:
    from ...session import ProbeResult


class ConnectionDisplay(Protocol):
    """Displays the connection: the sidebar, or its plain counterpart."""

    head: dict[str, Any]
    options: dict[str, Any]
    key: bool


class ConnectionStatus:
    """Probes the endpoint when it changes and on request, and displays the result.

    :param on_probe: called after each probe, on the package's loop thread, with the size of the server's context
        in tokens, or None if the server doesn't report it.
    """

    def __init__(
        self,
        session: Session,
        display: ConnectionDisplay,
        reporter: ErrorReporter,
        on_probe: Callable[[int | None], None],
    ) -> None:
        self._session, self._display, self._reporter, self._on_probe = session, display, reporter, on_probe
        self._lock = threading.Lock()
        self._probe_number = 0
        self._models: tuple[str, ...] = ()
        self._on_endpoint_change = reporter.guard(self.probe)
        self._on_model_change = reporter.guard(lambda change: self._show_name())
        session.settings.observe(self._on_endpoint_change, names=["endpoint_url", "dialect"])
        session.settings.observe(self._on_model_change, names=["model"])
        self.probe()

    def stop_observing(self) -> None:
        """Stop observing the settings."""
        with self._lock:
            self._probe_number += 1
        with suppress(ValueError):
            self._session.settings.unobserve(self._on_endpoint_change, names=["endpoint_url", "dialect"])
            self._session.settings.unobserve(self._on_model_change, names=["model"])

    def probe(self, *event: Any) -> None:
        """Start a probe of the endpoint; its result is displayed unless another probe has started by then."""
        with self._lock:
            self._probe_number += 1
            number = self._probe_number
        self._models = ()
        self._show_state("unsure", "Connecting…")
        self._session.submit(self._run_probe(number))

    async def _run_probe(self, number: int) -> None:
        try:
            result = await asyncio.to_thread(self._session.probe)
            if number == self._probe_number:
                self._show_result(result)
                self._on_probe(result.context)
        except Exception as error:  # noqa: BLE001 - it is reported
            if number == self._probe_number:
                self._reporter.report(error)
                self._show_state("failed", "Couldn't check the connection.")

    def _show_result(self, result: ProbeResult) -> None:
        self._models = result.models
        options = {**self._display.options, "model": list(result.models)}
        self._display.options = options  # first, so that they can be selected once the state is displayed
        self._display.key = self._session.llm.api_key is not None
        tone = "good" if result.speaks_dialect else "unsure" if result.answered else "failed"
        self._show_state(tone, reword_for_widgets(result.text))

    def _show_state(self, tone: str, text: str) -> None:
        self._display.head = {**self._display.head, "tone": tone, "text": text}
        self._show_name()

    def _show_name(self) -> None:
        url = self._session.settings.endpoint_url
        name = self._session.settings.model or (self._models[0] if self._models else "GLM")
        place = "this machine" if _is_loopback(url) else urlsplit(url).netloc
        head = {**self._display.head, "name": one_line(name.rsplit("/", 1)[-1], 60), "place": one_line(place, 60)}
        if head != self._display.head:
            self._display.head = head


def _is_loopback(url: str) -> bool:
    """Return whether a URL refers to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
