"""Whether anything answers where prompts go: a dot, a name and a sentence in the panel's head."""

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


class Shown(Protocol):
    """What shows the connection: the side bar, or its plain twin."""

    head: dict[str, Any]
    options: dict[str, Any]
    key: bool


class Connection:
    """Probes the endpoint when it changes, and when it is asked to.

    :param probed: is called after each probe, on the package's loop thread, with the tokens that the server's
        context holds, if it says so.
    """

    def __init__(
        self, session: Session, shown: Shown, reporter: ErrorReporter, probed: Callable[[int | None], None]
    ) -> None:
        self._session, self._shown, self._reporter, self._probed = session, shown, reporter, probed
        self._lock = threading.Lock()
        self._number = 0
        self._models: tuple[str, ...] = ()
        self._probe_again = reporter.guard(self.probe)
        self._name_again = reporter.guard(lambda change: self._name())
        session.settings.observe(self._probe_again, names=["endpoint_url", "dialect"])
        session.settings.observe(self._name_again, names=["model"])
        self.probe()

    def forget(self) -> None:
        """Stop following the settings."""
        with self._lock:
            self._number += 1
        with suppress(ValueError):
            self._session.settings.unobserve(self._probe_again, names=["endpoint_url", "dialect"])
            self._session.settings.unobserve(self._name_again, names=["model"])

    def probe(self, *event: Any) -> None:
        """Probe the endpoint; what is found shows when it has been found, unless another probe has begun."""
        with self._lock:
            self._number += 1
            number = self._number
        self._models = ()
        self._tell("unsure", "Connecting…")
        self._session.submit(self._find(number))

    async def _find(self, number: int) -> None:
        try:
            finding = await asyncio.to_thread(self._session.probe)
            if number == self._number:
                self._show(finding)
                self._probed(finding.context)
        except Exception as error:  # noqa: BLE001 - it is told
            if number == self._number:
                self._reporter.report(error)
                self._tell("failed", "Couldn't check the connection.")

    def _show(self, finding: ProbeResult) -> None:
        self._models = finding.models
        options = {**self._shown.options, "model": list(finding.models)}
        self._shown.options = options  # first: once the state is told, they can be chosen
        self._shown.key = self._session.llm.api_key is not None
        tone = "good" if finding.speaks_dialect else "unsure" if finding.answered else "failed"
        self._tell(tone, reword_for_widgets(finding.text))

    def _tell(self, tone: str, text: str) -> None:
        self._shown.head = {**self._shown.head, "tone": tone, "text": text}
        self._name()

    def _name(self) -> None:
        url = self._session.settings.endpoint_url
        name = self._session.settings.model or (self._models[0] if self._models else "GLM")
        place = "this machine" if _is_here(url) else urlsplit(url).netloc
        head = {**self._shown.head, "name": one_line(name.rsplit("/", 1)[-1], 60), "place": one_line(place, 60)}
        if head != self._shown.head:
            self._shown.head = head


def _is_here(url: str) -> bool:
    """Tell whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
