"""``%chatglm_serve``: starts the local server and points the session at it."""

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


def one_model(text: str) -> str | None:
    """Return the model that a line names: one word, a quoted one, or the path of a file that is there.

    :raises CommandError: for more than one.
    """
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES
    if quoted or not text:
        return text.strip(QUOTES) or None
    if len(words := text.split()) > 1 and not Path(text).expanduser().exists():
        raise CommandError(
            f"%chatglm_serve takes one model, not {len(words)}: {one_line(text, 80)}. Put a path with blanks in "
            "quotation marks."
        )
    return text


QUOTES = "\"'"


class Serving:
    """The local server of this session, and the address that was used before it."""

    def __init__(self) -> None:
        self._server: LocalServer | None = None
        self._before: str | None = None
        self._key: Any = None
        self._dialect: Any = None

    def start(self, session: Session, model: str | None) -> str:
        """Start a server (a second one takes the place of the first); return a line about it.

        :raises ServeError: with the engine's own reason; the session then stays where it was.
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
            self._before = session.settings.endpoint_url
            self._key, self._dialect = session.llm.api_key, session.llm.dialect
        else:
            old.stop()
        session.llm.dialect = None
        session.llm.endpoint_url = server.url
        session.llm.api_key = SecretStr(server.token)
        session.served = server.url, model
        return f"{server.model} answers on this machine. Ask it: %chatglm Hello!"

    def knows(self, url: str) -> bool:
        """Tell whether an address is the local server's, or the one gone back to when it ended."""
        return url == self._before or (self._server is not None and url == self._server.url)

    def stop(self, session: Session | None) -> str:
        """End the server; return a line about it."""
        server, self._server = self._server, None
        if server is None:
            return "No local server of this session is running."
        server.stop()
        if session is not None:
            session.served = None
        if session is not None and self._before is not None:
            if session.llm.endpoint_url == server.url:
                session.llm.endpoint_url = self._before
                session.llm.dialect, session.llm.api_key = self._dialect, self._key
            return f"The local server has ended; questions go to {session.settings.endpoint_url} again."
        return "The local server has ended."


def _show_progress(line: StatusLine, event: dict[str, Any]) -> None:
    """Show how a download or a load is going; nothing for a load that is quick."""
    if event["event"] == "downloading":
        line.show(_download(event["file"], event["bytes"], event["total"]))
    elif event["event"] == "loading" and event["seconds"] >= 1:
        part = "" if event["fraction"] is None else f" {event['fraction']:.0%}"
        line.show(f"loading{part}, {event['seconds']:.0f} s")


def _download(file: str, there: int, total: int | None) -> str:
    """Say how much of a file has come; its name is the hub's."""
    part = f" {there / total:.0%}" if total else ""
    return f"downloading {one_line(file, 48)}{part}, {there / 1e6:.0f} MB"
