"""What the tests of sweeps share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chatglm_magic import Session, sweep
from chatglm_magic.sweeps import Sweep

Axes = dict[str, Any]


def open_session(url: str, store: str = "off", **settings: Any) -> Session:
    """Return a session that asks there and keeps its turns in memory."""
    session = Session()
    session.settings.endpoint_url = url
    session.settings.store = store
    for name, value in settings.items():
        setattr(session.settings, name, value)
    return session


def run_sweep(session: Session, prompt: Any = "p", *, samples: int = 1, jobs: int = 16, **axes: Any) -> Sweep:
    """Sweep to the end."""
    return sweep(prompt, samples=samples, jobs=jobs, session=session, show=False, **axes)


def wait_until(test: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
