"""Which store a session writes to: the setting ``store`` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..forks import Rank, lock

if TYPE_CHECKING:
    from ..store import Store
    from .settings import ChatGLMSettings

FILE = "history.sqlite"
ENDINGS = (".sqlite", ".sqlite3", ".db")


class Storing:
    """Makes the store on first use, and another one when the setting has changed; turns stay where they are."""

    def __init__(self, settings: ChatGLMSettings) -> None:
        self._settings = settings
        self._lock = lock(Rank.STORING)
        self._store: Store | None = None
        self._setting: str | None = None

    @property
    def store(self) -> Store:
        with self._lock:  # imports too: a child that is forked amid one could never do it
            from ..store import Store

            if self._store is None or self._setting != self._settings.store:
                if self._store is not None:
                    self._store.close()
                self._setting = self._settings.store
                self._store = Store(_place(self._setting))
            return self._store

    def close(self) -> None:
        """Write what is unsaved and let go of the file."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def _place(setting: str | None) -> Path | None:
    """Return the file a setting means: its default, a folder's, or that file; None for ``off``."""
    from ..store import Store

    if setting is None:
        return Store.default_path()
    if setting.lower() == "off":
        return None
    path = Path(setting).expanduser()
    return path if path.suffix in ENDINGS else path / FILE
