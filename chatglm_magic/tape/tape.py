"""A tape between a model and its clients: replays an answer, or sends the request and records it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..client.request import Request
from ..client.timeouts import sleep_in_steps
from ..errors import ChatGLMError, ParameterError, TapeError
from ..values import Delta
from ..wire.body import sanitize_line
from .entry import KeyedRequest, TapeEntry, TapeRecorder, keyed_request
from .file import TapeFile
from .mismatch import describe_closest, join_differences

if TYPE_CHECKING:
    from ..client.async_client import AsyncClient
    from ..client.sync_client import SyncClient

Mode = Literal["auto", "replay", "record"]
"""``auto`` replays what is on the tape and records the rest; ``replay`` never sends, ``record`` always does."""

MODE_VARIABLE = "CHATGLM_MAGIC_TAPE_MODE"


def resolve_mode(explicit: Mode | None) -> Mode:
    """Return the explicit mode, else the environment's, else ``auto``.

    :raises ParameterError: if the environment's isn't a mode.
    """
    mode = explicit or os.environ.get(MODE_VARIABLE) or "auto"
    if mode not in get_args(Mode):
        raise ParameterError(f"{MODE_VARIABLE} must be auto, replay or record, not {sanitize_line(mode, 40)!r}.")
    return mode  # type: ignore[return-value]


class Tape:
    """A tape's file and how it is used.

    :param path: the file; relative to the current folder, with ``~`` for the home folder.
    :param timed: whether pieces are replayed with the pauses they were recorded with, or at once.
    :raises TapeError: ``tape_file`` for an invalid path.
    """

    def __init__(self, path: str, mode: Mode = "auto", *, timed: bool = False) -> None:
        self.path, self.mode, self.timed = path, mode, timed
        self._file = _shared_file(path)

    def with_mode(self, mode: Mode, *, timed: bool) -> Tape:
        """Return a tape of the same file with another mode and timing."""
        tape = object.__new__(Tape)
        tape.path, tape.mode, tape.timed, tape._file = self.path, mode, timed, self._file
        return tape

    def wrap(self, client: SyncClient) -> RecordingClient:
        """Return a client that sends what isn't on the tape through another client."""
        return RecordingClient(self, client)

    def awrap(self, client: AsyncClient) -> AsyncRecordingClient:
        """As :meth:`wrap`, asynchronously."""
        return AsyncRecordingClient(self, client)

    @property
    def may_block(self) -> bool:
        """Whether :meth:`find` may take a while: to read the file, or to find the closest request."""
        return self._file.has_changed or self.mode == "replay"

    def find(self, keyed: KeyedRequest) -> TapeEntry | None:
        """Return the recorded answer; None if there is none, or in mode ``record``.

        :raises TapeError: ``not_on_tape`` in mode ``replay``, with the closest request on the tape.
        """
        entry = None if self.mode == "record" else self._file.find(keyed.key)
        if entry is None and self.mode == "replay":
            raise TapeError(self._describe_miss(keyed), kind="not_on_tape")
        return entry

    def start_recording(self, keyed: KeyedRequest, request: Request) -> TapeRecorder:
        """Return a recorder for an answer.

        :raises TapeError: if the answer couldn't be saved, before the request is sent.
        """
        recorder = TapeRecorder(keyed, request)
        self._file.check_writable()
        return recorder

    def save(self, recorder: TapeRecorder) -> None:
        """Add a finished answer to the tape; it is on disk when this returns."""
        self._file.add(recorder.to_entry(), again=self.mode == "record")

    def explain(self, keyed: KeyedRequest, error: ChatGLMError) -> None:
        """Add the difference to the closest request on the tape to the error of an unreachable server."""
        if self.mode != "auto" or error.kind not in UNREACHED_KINDS or not self._file.exists:
            return
        differences = describe_closest(keyed.request, keyed.sample, self._file.entries())
        if differences is not None:
            error.args = (
                f"{error} This request isn't on the tape {sanitize_line(self.path)}: the closest "
                f"recording differs in {join_differences(differences)}.",
            )

    def _describe_miss(self, keyed: KeyedRequest) -> str:
        path = sanitize_line(self.path)
        record = "Record it: %chatglm_config tape_mode=auto, with the server there."
        if not self._file.exists:
            return f"There is no tape {path}, and tape_mode=replay never sends a request. {record}"
        differences = describe_closest(keyed.request, keyed.sample, self._file.entries())
        if differences is None:
            return f"The tape {path} holds no answer. {record}"
        return (
            f"This request isn't on the tape {path}. "
            f"The closest recording differs in {join_differences(differences)}. {record}"
        )


UNREACHED_KINDS = ("connect", "connect_timeout", "proxy", "tls")
"""Kinds of errors if the server wasn't reached."""


class RecordingClient:
    """Replays answers from a tape; sends other requests through a client and records their answers."""

    def __init__(self, tape: Tape, client: SyncClient) -> None:
        self._tape, self._client = tape, client

    def stream(self, request: Request) -> Generator[Delta, None, None]:
        """Yield the pieces of an answer, replayed or received.

        :raises ChatGLMError: as the client, or a TapeError.
        """
        keyed = keyed_request(request)
        entry = self._tape.find(keyed)
        if entry is not None:
            started = time.monotonic()
            for seconds, delta in entry.deltas():
                if (wait := self._tape.timed and _remaining(started, seconds, request)) > 0:
                    sleep_in_steps(wait)
                yield delta
            return
        recorder = self._tape.start_recording(keyed, request)
        is_saved = False
        with closing(self._client.stream(request)) as deltas:
            try:
                for delta in deltas:
                    recorder.add(delta)
                    if recorder.is_stopped and not is_saved:
                        is_saved = True
                        self._tape.save(recorder)
                    yield delta
            except ChatGLMError as error:
                self._tape.explain(keyed, error)
                raise
            except GeneratorExit:  # the caller stopped reading, perhaps since the answer was complete
                if recorder.is_finished and not is_saved:
                    self._tape.save(recorder)
                raise
        if not is_saved:
            self._tape.save(recorder)


class AsyncRecordingClient:
    """As :class:`RecordingClient`, asynchronously; disk access doesn't block the event loop."""

    def __init__(self, tape: Tape, client: AsyncClient) -> None:
        self._tape, self._client = tape, client

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the pieces of an answer, replayed or received.

        :raises ChatGLMError: as the client, or a TapeError.
        """
        keyed, tape = keyed_request(request), self._tape
        entry = await asyncio.to_thread(tape.find, keyed) if tape.may_block else tape.find(keyed)
        if entry is not None:
            started = time.monotonic()
            for seconds, delta in entry.deltas():
                if (wait := tape.timed and _remaining(started, seconds, request)) > 0:
                    await asyncio.sleep(wait)
                yield delta
            return
        recorder = tape.start_recording(keyed, request)
        is_saved = False
        async with aclosing(self._client.stream(request)) as deltas:
            try:
                async for delta in deltas:
                    recorder.add(delta)
                    if recorder.is_stopped and not is_saved:
                        is_saved = True
                        await asyncio.to_thread(tape.save, recorder)
                    yield delta
            except ChatGLMError as error:
                await asyncio.to_thread(tape.explain, keyed, error)
                raise
            except GeneratorExit:
                if recorder.is_finished and not is_saved:
                    await asyncio.to_thread(tape.save, recorder)
                raise
        if not is_saved:
            await asyncio.to_thread(tape.save, recorder)


def _remaining(started: float, seconds: float, request: Request) -> float:
    """Return how many seconds to wait for a piece; the limit protects from a manipulated file."""
    return started + min(seconds, request.timeouts.total) - time.monotonic()


_files: weakref.WeakValueDictionary[Path, TapeFile] = weakref.WeakValueDictionary()
_files_lock = threading.Lock()


def _shared_file(path: str) -> TapeFile:
    """Return the process's one object for a file, so that it is read once."""
    try:
        absolute = Path(os.path.abspath(Path(path).expanduser()))
        os.fsencode(absolute)  # raises for lone surrogates
    except (OSError, RuntimeError, ValueError) as error:
        raise TapeError(f"The tape {sanitize_line(path)} can't be found: {error}.", kind="tape_file") from None
    with _files_lock:
        file = _files.get(absolute)
        if file is None:
            file = _files[absolute] = TapeFile(absolute)
        return file
