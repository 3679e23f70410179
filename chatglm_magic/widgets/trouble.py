"""Errors of widget callbacks: displayed as one line with details to expand, and logged; none is swallowed."""

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
from .words import reword_for_widgets

LOG = logging.getLogger("chatglm_magic.widgets")
LOG.addHandler(logging.NullHandler())  # otherwise Python writes the log to an unrelated cell

KEY_VARIABLES = ("CHATGLM_API_KEY", "ZAI_API_KEY", "ZHIPUAI_API_KEY")

PACKAGE_FOLDER = str(Path(__file__).parent.parent)


class StatusWidget(Html):
    """One line about the current state, or an error with its details collapsed below."""

    def show_text(self, text: str) -> None:
        """Display a line."""
        self.value = status_html(text)

    def show_error(self, text: str, details: str) -> None:
        """Display an error."""
        self.value = status_html(text, failed=True, details=details)


class ErrorDisplay(Protocol):
    """Displays an error: one line, and details to expand."""

    def show_error(self, text: str, details: str) -> None: ...


class ErrorReporter:
    """Displays errors of callbacks to the user; ipywidgets itself would only log them."""

    def __init__(self, session: Session, display: ErrorDisplay) -> None:
        self._session, self._display = session, display

    def guard(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """Return ``callback`` with its exceptions reported instead of raised."""

        @functools.wraps(callback)
        def safe(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001 - this is where all of them go
                self.report(error)

        return safe

    def report(self, error: BaseException) -> None:
        """Display an error, and log it without its message, which may quote a prompt."""
        self._display.show_error(*self.log_error(error))

    def log_error(self, error: BaseException) -> tuple[str, str]:
        """Log an error without its message; return the line and the details to display."""
        path = traceback_in_package(error)
        LOG.error("%s in a panel\n%s", type(error).__name__, path)
        if isinstance(error, ChatGLMError):
            line, kind = reword_for_widgets(str(error)), error.kind
        else:
            line, kind = f"Something went wrong here: {error}", type(error).__name__
        details = "\n".join([kind, *cause_lines(error), path])
        secrets = _session_secrets(self._session)
        return one_line(mask(line, secrets)), mask(details, secrets)


def traceback_in_package(error: BaseException) -> str:
    """Return an error's stack frames inside this package: files and lines, no values."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(PACKAGE_FOLDER)]
    lines = [f"{Path(f.filename).relative_to(PACKAGE_FOLDER)}:{f.lineno} in {f.name}\n    {f.line}" for f in ours]
    return "\n".join(lines) or "outside of chatglm_magic"


def cause_lines(error: BaseException) -> list[str]:
    """Return one line for each error that an error was raised from, at most five."""
    lines: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(lines) < 5:
        lines.append(f"because of: {one_line(str(cause))}")
        cause = cause.__cause__ or cause.__context__
    return lines


def _session_secrets(session: Session) -> tuple[str, ...]:
    """Return the secrets that an error from another package might contain."""
    headers = {f"authorization-{name}": os.environ.get(name, "") for name in KEY_VARIABLES}
    try:
        llm = session.llm
    except Exception:  # noqa: BLE001 - that there is no model may be the error being reported
        return secrets_in(headers)
    values = {**(llm.headers or {}), "api_key": llm.api_key}
    headers |= {name: secret.get_secret_value() for name, secret in values.items() if secret is not None}
    return secrets_in(headers)
