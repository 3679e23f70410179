"""A tape as it stands between a model and its clients: with their own method ``stream``."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..client.call import Call
from ..errors import ParameterError, TapeError
from ..wire.body import shown
from .file import TapeFile
from .lines import Recorded
from .nearest import in_words, nearest
from .question import Asked
from .recording import Recording
from .streams import AsyncTaped, Taped

if TYPE_CHECKING:
    from ..client.aio import AsyncClient
    from ..client.sync import SyncClient

Mode = Literal["auto", "replay", "record"]
"""``auto`` gives what is there and records what is not, ``replay`` never asks, ``record`` always asks."""

VARIABLE = "CHATGLM_MAGIC_TAPE_MODE"


def mode_in_force(chosen: Mode | None) -> Mode:
    """Return the mode that was chosen, else the environment's, else ``auto``.

    :raises ParameterError: if the environment names none.
    """
    mode = chosen or os.environ.get(VARIABLE) or "auto"
    if mode not in get_args(Mode):
        raise ParameterError(f"{VARIABLE} must be auto, replay or record, not {shown(mode, 40)!r}.")
    return mode  # type: ignore[return-value]


class Tape:
    """One file with the manner in which it is used.

    :param path: of the file; a relative one is of the current folder, ``~`` the home folder.
    :param timed: whether pieces come as they did when they were recorded, or at once.
    :raises TapeError: ``tape_file`` for a path that can't be one.
    """

    def __init__(self, path: str, mode: Mode = "auto", *, timed: bool = False) -> None:
        self.path, self.mode, self.timed = path, mode, timed
        self._file = _file_at(path)

    def using(self, mode: Mode, *, timed: bool) -> Tape:
        """Return a tape of the same file that is used in another manner."""
        found = object.__new__(Tape)
        found.path, found.mode, found.timed, found._file = self.path, mode, timed, self._file
        return found

    def over(self, client: SyncClient) -> Taped:
        """Return a client that asks through another one what the tape does not have."""
        return Taped(self, client)

    def aover(self, client: AsyncClient) -> AsyncTaped:
        """As :meth:`over`, for tasks."""
        return AsyncTaped(self, client)

    @property
    def waits(self) -> bool:
        """Whether looking into the tape may take a while: to read its file, or to find what is nearest."""
        return self._file.changed or self.mode == "replay"

    def find(self, question: Asked) -> Recorded | None:
        """Return the recorded answer, if that is what the mode wants.

        :raises TapeError: ``not_on_tape`` if nothing may be asked, with the nearest question that is there.
        """
        found = None if self.mode == "record" else self._file.find(question.key)
        if found is None and self.mode == "replay":
            raise TapeError(self._missing(question), kind="not_on_tape")
        return found

    def begin(self, question: Asked, call: Call) -> Recording:
        """Begin to record an answer.

        :raises TapeError: if it could not be put on the tape, before it is asked for.
        """
        recording = Recording(question, call)
        self._file.check()
        return recording

    def keep(self, recording: Recording) -> None:
        """Put a finished answer on the tape; it is on the disk when this returns."""
        self._file.add(recording.recorded(), again=self.mode == "record")

    def _missing(self, question: Asked) -> str:
        path = shown(self.path)
        record = "Record it: %chatglm_config tape_mode=auto, with the server there."
        if not self._file.there:
            return f"There is no tape {path}, and tape_mode=replay asks no server. {record}"
        found = nearest(question.request, question.sample, self._file.all())
        if found is None:
            return f"The tape {path} holds no answer. {record}"
        return f"This question is not on the tape {path}. The nearest there differs in {in_words(found)}. {record}"


_files: weakref.WeakValueDictionary[Path, TapeFile] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _file_at(path: str) -> TapeFile:
    """Return the one object of this process for a file: what it holds is read once."""
    try:
        whole = Path(os.path.abspath(Path(path).expanduser()))
        os.fsencode(whole)  # half a character is no part of a name
    except (OSError, RuntimeError, ValueError) as error:
        raise TapeError(f"The tape {shown(path)} can't be found: {error}.", kind="tape_file") from None
    with _lock:
        found = _files.get(whole)
        if found is None:
            found = _files[whole] = TapeFile(whole)
        return found
