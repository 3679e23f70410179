"""What a ``ChatGLM`` has for itself alone: connections, a lock, who follows it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..client.sync_client import GENUINE, BridgedClient, SyncClient
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
"""Modules that LangChain imports with the first request."""


def prepare_langchain(llm: BaseLLM | BaseChatModel) -> None:
    """Do now what LangChain does at the first use, under a lock that a fork waits for.

    It imports modules late, and describes each model once under a lock of its own. A child that is forked in the
    middle of either, by another thread, would wait for a thread that it has not got.
    """
    with FIRST_USE_LOCK:
        for name in DEFERRED_MODULES:
            if name not in sys.modules:
                importlib.import_module(name)
        _ = llm._serialized


class Runtime:
    """Never copied or pickled: a copy gets new ones."""

    def __init__(self) -> None:
        self.client = SyncClient() if GENUINE else BridgedClient(lambda: self.aclient)
        self.lock = fork_safe_lock(LockOrder.MODEL)
        self.observers: list[Callable[[str, Any], None]] = []
        self.no_usage: set[str] = set()
        self.tokenizers: dict[str, str | None] = {}
        """The address that counts tokens, for each server that was asked; None where there is none."""
        self._aclient: AsyncClient | None = None
        self._tapes: tuple[str, Tape] | None = None

    def tape(self, path: str, mode: Mode | None, *, timed: bool) -> Tape:
        """Return the tape of a path, which is of the folder that was current when it was first used."""
        from ..tape import Tape, resolve_mode

        with self.lock:
            if self._tapes is None or self._tapes[0] != path:
                self._tapes = path, Tape(path)
            return self._tapes[1].with_mode(resolve_mode(mode), timed=timed)

    @property
    def aclient(self) -> AsyncClient:
        """The client of the asynchronous road; aiohttp is imported on first use."""
        with self.lock:
            if self._aclient is None:
                from ..client.async_client import AsyncClient

                self._aclient = AsyncClient()
            return self._aclient

    def share(self, other: Runtime) -> None:
        """Ask over the connections of another one, whose model this one's is but a variant of."""
        self.client, self._aclient = other.client, other.aclient
        self.no_usage, self.tokenizers = other.no_usage, other.tokenizers

    def close(self) -> None:
        """Close the pooled connections; the next question opens new ones."""
        self.client.close()
        if self._aclient is not None:
            self._aclient.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runtime)  # two models with the same fields are equal, whatever their connections

    __hash__ = object.__hash__

    def __deepcopy__(self, memo: Any) -> Runtime:
        return Runtime()

    def __reduce__(self) -> tuple[Any, ...]:
        return Runtime, ()
