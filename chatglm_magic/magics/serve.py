"""``%chatglm_serve``: starts the local server and switches the session to it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CommandError
from ..render.front_ends import current_shell
from ..render.status_line import StatusLine, choose_status_line
from ..render.text import one_line
from ..session import Session
from .parser import Parser

if TYPE_CHECKING:
    from ..local import LocalServer

PATH_QUOTES = "\"'"


def serve_parser() -> Parser:
    """Return the parser of ``%chatglm_serve``."""
    parser = Parser(
        "%chatglm_serve",
        " [MODEL]",
        "Start the local server and use it.",
        "MODEL\n"
        "  (none)       the built-in model\n"
        "  FILE.gguf    a model file\n"
        "  OWNER/NAME   a model from Hugging Face; also OWNER/NAME:FILE or OWNER/NAME:QUANTIZATION",
    )
    parser.add_argument("--stop", action="store_true", help="stop it, and use the previous server again")
    parser.add_help_option()
    return parser


def parse_model(text: str) -> str | None:
    """Return the model of a line (a word, a quoted text or the path of an existing file), or None if it is empty.

    :raises CommandError: for several words.
    """
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in PATH_QUOTES
    if is_quoted or not text:
        return text.strip(PATH_QUOTES) or None
    if len(words := text.split()) > 1 and not Path(text).expanduser().exists():
        raise CommandError(
            f"%chatglm_serve takes one model, not {len(words)}: {one_line(text, 80)}. Put a path with blanks in "
            "quotation marks."
        )
    return text


class ServerSwitch:
    """Switches the session to a local server, and back to the endpoint it used before."""

    def __init__(self) -> None:
        self._server: LocalServer | None = None
        self._previous_url: str | None = None
        self._previous_key: Any = None
        self._previous_dialect: Any = None

    def start(self, session: Session, model: str | None) -> str:
        """Start a server, which replaces a running one; return a message.

        :raises ServeError: with the engine's reason; the session then keeps its endpoint.
        """
        from pydantic import SecretStr

        from ..local import LocalServer

        line = choose_status_line(current_shell())
        server = LocalServer(model, on_progress=partial(_show_progress, line))
        try:
            server.start()
        finally:
            line.clear()
        old, self._server = self._server, server
        if old is None:
            self._previous_url = session.settings.endpoint_url
            self._previous_key, self._previous_dialect = session.llm.api_key, session.llm.dialect
        else:
            old.stop()
        session.llm.dialect = None
        session.llm.endpoint_url = server.url
        session.llm.api_key = SecretStr(server.token)
        session.local_server = server.url, model
        return f"{server.model} answers on this machine. Ask it: %chatglm Hello!"

    def has_set(self, url: str) -> bool:
        """Tell whether an endpoint is the local server's, or the one restored when it ended."""
        return url == self._previous_url or (self._server is not None and url == self._server.url)

    def stop(self, session: Session | None) -> str:
        """Stop the server; return a message."""
        server, self._server = self._server, None
        if server is None:
            return "No local server of this session is running."
        server.stop()
        if session is not None:
            session.local_server = None
        if session is not None and self._previous_url is not None:
            if session.llm.endpoint_url == server.url:
                session.llm.endpoint_url = self._previous_url
                session.llm.dialect, session.llm.api_key = self._previous_dialect, self._previous_key
            return f"The local server has ended; requests go to {session.settings.endpoint_url} again."
        return "The local server has ended."


def _show_progress(line: StatusLine, event: dict[str, Any]) -> None:
    """Show the progress of a download, or of loading once it has taken a second."""
    if event["event"] == "downloading":
        line.show(_describe_download(event["file"], event["bytes"], event["total"]))
    elif event["event"] == "loading" and event["seconds"] >= 1:
        part = "" if event["fraction"] is None else f" {event['fraction']:.0%}"
        line.show(f"loading{part}, {event['seconds']:.0f} s")


def _describe_download(file: str, received: int, total: int | None) -> str:
    part = f" {received / total:.0%}" if total else ""
    return f"downloading {one_line(file, 48)}{part}, {received / 1e6:.0f} MB"
