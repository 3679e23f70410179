"""Questions of the caller's thread over aiohttp, for where urllib3 is not what requests was made for.

``urllib3-future``, which comes with niquests, takes urllib3's place for the whole environment. Its connections are
not those of ``http.client``, so that neither the time limits nor the prompt reads of :mod:`.connections` hold.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from urllib3.connection import HTTPConnection

from ..values import Delta
from .call import Call
from .loop import handed_over
from .sync import SyncClient

if TYPE_CHECKING:
    from .aio import AsyncClient

GENUINE = issubclass(HTTPConnection, http.client.HTTPConnection)
"""Whether urllib3 is the one that requests was made for."""


class BridgedClient(SyncClient):
    """Has the questions asked on the package's loop thread, and hands their answers over as they come."""

    def __init__(self, client: Callable[[], AsyncClient]) -> None:
        super().__init__()
        self._client = client

    def stream(self, call: Call) -> Generator[Delta, None, None]:
        """Ask, and yield the answer's pieces as they arrive; as :meth:`SyncClient.stream`."""
        yield from handed_over(self._client().stream(call))
