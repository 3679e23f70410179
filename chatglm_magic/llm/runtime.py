"""The state of a ``ChatGLM`` that is neither copied nor saved: connections, a lock, observers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..client.sync_client import HAS_STANDARD_URLLIB3, BridgedClient, SyncClient
from ..forks import LockOrder, fork_safe_lock

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, BaseLLM

    from ..client.async_client import AsyncClient
    from ..tape import Mode, Tape


FIRST_USE_LOCK = fork_safe_lock(LockOrder.FIRST_USE)
DEFERRED_MODULES = (
    "langsmith.run_helpers",
    *(f"langchain_core.tracers.{name}" for name in ("context", "langchain", "stdout")),
)
"""Modules that LangChain imports at the first request."""


def prepare_langchain(llm: BaseLLM | BaseChatModel) -> None:
    """Do what LangChain would do at the first request, under a lock that a fork waits for.

    LangChain imports modules late, and serializes each model once under its own lock. A child that another thread
    forks meanwhile would wait forever for a thread that doesn't exist there.
    """
    with FIRST_USE_LOCK:
        for name in DEFERRED_MODULES:
            if name not in sys.modules:
                importlib.import_module(name)
        _ = llm._serialized


class Runtime:
    """A model's connections, lock and observers. A copied or unpickled model gets a new one."""

    def __init__(self) -> None:
        self.client = SyncClient() if HAS_STANDARD_URLLIB3 else BridgedClient(lambda: self.aclient)
        self.lock = fork_safe_lock(LockOrder.MODEL)
        self.observers: list[Callable[[str, Any], None]] = []
        self.urls_without_usage: set[str] = set()
        self.tokenizers: dict[str, str | None] = {}
        """For each server the URL that counts tokens; None if it has none."""
        self._aclient: AsyncClient | None = None
        self._tape: tuple[str, Tape] | None = None

    def tape(self, path: str, mode: Mode | None, *, timed: bool) -> Tape:
        """Return the tape of a path, which is relative to the current folder at its first use."""
        from ..tape import Tape, resolve_mode

        with self.lock:
            if self._tape is None or self._tape[0] != path:
                self._tape = path, Tape(path)
            return self._tape[1].with_mode(resolve_mode(mode), timed=timed)

    @property
    def aclient(self) -> AsyncClient:
        """The asynchronous client; aiohttp is imported at first use."""
        with self.lock:
            if self._aclient is None:
                from ..client.async_client import AsyncClient

                self._aclient = AsyncClient()
            return self._aclient

    def share(self, other: Runtime) -> None:
        """Use the connections of another model, of which this one's is a variant."""
        self.client, self._aclient = other.client, other.aclient
        self.urls_without_usage, self.tokenizers = other.urls_without_usage, other.tokenizers

    def close(self) -> None:
        """Close the pooled connections; the next request opens new ones."""
        self.client.close()
        if self._aclient is not None:
            self._aclient.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runtime)  # models with the same fields are equal, whatever their connections

    __hash__ = object.__hash__

    def __deepcopy__(self, memo: Any) -> Runtime:
        return Runtime()

    def __reduce__(self) -> tuple[Any, ...]:
        return Runtime, ()
