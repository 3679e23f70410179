"""The exceptions of the package.

ChatGLMError (a ValueError, like all errors of the original ``ChatGLM``)
├── ParameterError          a value that no server accepts, or an unknown name
├── CommandError            a magic's line that can't be parsed
├── EndpointError           the server wasn't reached, or the connection broke before an answer began
├── ResponseError           the server returned an error
├── InvalidResponseError    the server's response isn't an answer
├── IncompleteAnswerError   an answer began but didn't end; ``partial`` holds its text
├── TapeError               an answer isn't on the tape, or the tape can't be read or written
└── ServeError              the local server couldn't be started, or has ended

Interrupted (a KeyboardInterrupt) is raised for an interrupt once the partial answer is saved.

Each has a ``kind``, a short word that code can rely on (``connect``, ``auth``, ``too_long``, …), and ``partial``,
the text received before the error. The message says what happened and what to type next.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

MAGICS_FOLDER = ("chatglm_magic", "magics")


class OneLineTraceback:
    """Displays an exception as a single line if one of our magics raised it, and in full otherwise.

    IPython calls ``_render_traceback_`` of an exception for the lines to display. The kernel still sends a real
    ``error`` message, so that Run All stops and nbval notices (unlike with a ``UsageError``).
    """

    def _render_traceback_(self) -> list[str]:
        error: Any = self
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        if any(Path(name).parts[-3:-1] == MAGICS_FOLDER for name in files):
            line = f"{type(self).__name__}: {self}"
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # IPython writes it there unchanged
            return [line.encode(encoding, "backslashreplace").decode(encoding)]
        from IPython.core.getipython import get_ipython

        shell: Any = get_ipython()
        lines: list[str] = shell.InteractiveTB.structured_traceback(
            type(error), error, error.__traceback__, tb_offset=1
        )
        return lines


class ChatGLMError(OneLineTraceback, ValueError):
    """Any error of a request or a command.

    :param message: what happened, and what to type next; never contains a key.
    :param kind: a short word for programs; see the subclasses.
    :param partial: the answer's text received before the error.
    """

    kind = "error"

    about_model: bool = False
    """Whether a server's error is about the model: one that it doesn't have, or none was named."""

    def __init__(self, message: str, *, kind: str | None = None, partial: str = "") -> None:
        super().__init__(message)
        self.kind = kind or type(self).kind
        self.partial = partial


class ParameterError(ChatGLMError):
    """A value that no server accepts, or an unknown name.

    Kinds: parameter, unknown_name.
    """

    kind = "parameter"


class UnsupportedError(ParameterError, NotImplementedError):
    """A feature that this model class lacks; LangChain expects NotImplementedError for that."""

    kind = "unsupported"


class CommandError(ChatGLMError):
    """A magic's line can't be parsed."""

    kind = "usage"


class EndpointError(ChatGLMError):
    """The server wasn't reached, or the connection broke before an answer began.

    Kinds: connect, connect_timeout, write_timeout, first_byte_timeout, total_timeout, pool_timeout,
    server_closed, tls, protocol, proxy, bad_url, bad_header, insecure, no_tokenizer.
    """

    kind = "connect"


class ResponseError(ChatGLMError):
    """The server answered with an error.

    Kinds: auth, not_found, bad_request, too_long, rate_limit, no_money, loading, redirect, server_error.
    ``status`` is the HTTP status, ``retry_after`` the header of that name. With ``too_long``, ``tokens`` is
    (requested, available) if the server reports them.
    """

    kind = "bad_request"
    status: int = 0
    retry_after: str | None = None
    tokens: tuple[int, int] | None = None


class InvalidResponseError(ChatGLMError):
    """The server's response isn't an answer.

    Kinds: bad_json, bad_shape, bad_encoding, empty_reply, no_logprobs, not_a_model_server, not_sse, too_large,
    server_error.
    """

    kind = "bad_shape"


class IncompleteAnswerError(ChatGLMError):
    """An answer began but didn't end; ``partial`` holds its text.

    Kinds: incomplete, idle_timeout, stalled, total_timeout, bad_event, server_error, too_large.
    """

    kind = "incomplete"


class TapeError(ChatGLMError):
    """An answer isn't on the tape, or the tape can't be read or written.

    Kinds: not_on_tape, tape_file, secret.
    """

    kind = "not_on_tape"


class ServeError(ChatGLMError):
    """The local server couldn't be started, or has ended."""

    kind = "serve_failed"


class Interrupted(OneLineTraceback, KeyboardInterrupt):
    """An interrupt, raised again after the partial answer was saved."""


RefusedError = ResponseError
ReplyError = InvalidResponseError
BrokenOffError = IncompleteAnswerError
"""Names of these classes before 0.1.0, for code that catches them."""
