"""Errors in a panel: a line with the details a click away, and a record; none is swallowed."""

from __future__ import annotations

import functools
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..credentials import mask, secrets_in
from ..errors import ChatGLMError
from ..render.text import one_line
from ..session import Session
from .look import Html, status_html
from .words import in_place

LOG = logging.getLogger("chatglm_magic.widgets")
LOG.addHandler(logging.NullHandler())  # else Python writes to a cell that has nothing to do with it

KEY_VARIABLES = ("CHATGLM_API_KEY", "ZAI_API_KEY", "ZHIPUAI_API_KEY")

PACKAGE = str(Path(__file__).parent.parent)


class Status(Html):
    """One line about what happens; errors have their details folded beneath."""

    def say(self, text: str) -> None:
        """Show a line."""
        self.value = status_html(text)

    def fail(self, text: str, details: str) -> None:
        """Show an error."""
        self.value = status_html(text, failed=True, details=details)


class Failing(Protocol):
    """What shows an error: a line, and details a click away."""

    def fail(self, text: str, details: str) -> None: ...


class Trouble:
    """Brings what goes wrong to people: ipywidgets itself would leave an exception of a callback to the log."""

    def __init__(self, session: Session, status: Failing) -> None:
        self._session, self._status = session, status

    def guarded(self, handler: Callable[..., Any]) -> Callable[..., None]:
        """Return a callback that tells of its exceptions."""

        @functools.wraps(handler)
        def safe(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except Exception as error:  # noqa: BLE001 - this is where all of them go
                self.tell(error)

        return safe

    def tell(self, error: BaseException) -> None:
        """Show an error in the panel, and record it without its words, which may quote a prompt."""
        self._status.fail(*self.describe(error))

    def describe(self, error: BaseException) -> tuple[str, str]:
        """Record an error without its words; return the line and the details to show of it."""
        path = where(error)
        LOG.error("%s in a panel\n%s", type(error).__name__, path)
        if isinstance(error, ChatGLMError):
            line, kind = in_place(str(error)), error.kind
        else:
            line, kind = f"Something went wrong here: {error}", type(error).__name__
        details = "\n".join([kind, *causes(error), path])
        secrets = _secrets(self._session)
        return one_line(mask(line, secrets)), mask(details, secrets)


def where(error: BaseException) -> str:
    """Return the way of an error through this package: files and lines, no values."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(PACKAGE)]
    lines = [f"{Path(f.filename).relative_to(PACKAGE)}:{f.lineno} in {f.name}\n    {f.line}" for f in ours]
    return "\n".join(lines) or "outside of chatglm_magic"


def causes(error: BaseException) -> list[str]:
    """Return the errors behind an error, a line each."""
    found: list[str] = []
    behind = error.__cause__ or error.__context__
    while behind is not None and len(found) < 5:
        found.append(f"because of: {one_line(str(behind))}")
        behind = behind.__cause__ or behind.__context__
    return found


def _secrets(session: Session) -> tuple[str, ...]:
    """Return the secrets that an error of another package might repeat."""
    headers = {f"authorization-{name}": os.environ.get(name, "") for name in KEY_VARIABLES}
    try:
        llm = session.llm
    except Exception:  # noqa: BLE001 - a model that can't be made has no key, and is what is being told of
        return secrets_in(headers)
    given = {**(llm.headers or {}), "api_key": llm.api_key}
    headers |= {name: secret.get_secret_value() for name, secret in given.items() if secret is not None}
    return secrets_in(headers)
