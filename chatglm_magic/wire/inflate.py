"""Compressed bodies, undone in pieces of a bounded size: a small body can't become a huge one at once.

We ask for none (``Accept-Encoding: identity``), but gateways compress unasked.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ..errors import IncompleteAnswerError, InvalidResponseError
from .body import shown

PIECE = 1 << 18
"""Bytes that one step of undoing may yield."""

GZIP_OR_ZLIB = 47
"""zlib's ``wbits`` for "find out by yourself": RFC 1952 (gzip) or RFC 1950 (what HTTP calls deflate)."""


class Inflate:
    """Takes in a body's bytes and yields them plain."""

    def __init__(self, encoding: str) -> None:
        """Raise a InvalidResponseError for an encoding that was not asked for and can't be undone."""
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise InvalidResponseError(
                f"The server compressed its answer in a way that was not asked for: {shown(encoding, 40)}.",
                kind="bad_encoding",
            )
        self._undo = zlib.decompressobj(GZIP_OR_ZLIB) if name not in ("", "identity") else None
        self._fed = False

    @property
    def undoes(self) -> bool:
        """Whether there is anything to undo."""
        return self._undo is not None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Take in the next bytes; yield what they mean, at most 256 KiB at a time.

        :raises InvalidResponseError: ``bad_encoding`` for bytes that are not compressed as they should be.
        """
        if self._undo is None:
            yield block
            return
        self._fed = True
        while block and not self._undo.eof:
            try:
                plain = self._undo.decompress(block, PIECE)
            except zlib.error:
                raise InvalidResponseError(
                    "The server's answer is damaged: it is not compressed as its headers say.", kind="bad_encoding"
                ) from None
            block = self._undo.unconsumed_tail
            if plain:
                yield plain

    def close(self) -> None:
        """End the body.

        :raises IncompleteAnswerError: ``incomplete`` if the compressed form has no end.
        """
        if self._undo is not None and self._fed and not self._undo.eof:
            raise IncompleteAnswerError(
                "The answer is incomplete: its compressed form has no end.", kind="incomplete"
            )
