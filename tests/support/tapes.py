"""What the tape's tests have in common: servers whose answers differ each time, and tapes to look at."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import TapeError

from .models import both, endpoint_of, read_prompt
from .servers import Asked, Script, ScriptedServer, answer, legacy

__all__ = ["both", "count_pieces", "delay", "make_model", "make_offline_model", "read_lines", "read_miss"]


def count_pieces(pieces: int = 3, pause: float = 0.0) -> Script:
    """Give each question another answer, in pieces where the protocol has them: its prompt and a number."""
    numbers = itertools.count(1)

    def script(connection: socket.socket, asked: Asked) -> None:
        parts = [f"{read_prompt(asked.body)}", " 答", *("…" * (pieces - 3)), f" {next(numbers)}"]
        if "messages" in asked.body:
            usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
            answer(*parts, usage=usage, pause=pause)(connection, asked)
        else:
            legacy("".join(parts))(connection, asked)

    return script


def delay(tape: Path, copy: Path, seconds: float) -> Path:
    """Write a tape whose answers begin at once, and whose second piece of text comes so much later; return it."""
    answers = [json.loads(line) for line in tape.read_text(encoding="utf-8").splitlines()]
    for recorded in answers:
        texts = 0
        for piece in recorded["pieces"]:
            texts += bool(piece[1])
            piece[0] = seconds if texts > 1 else 0
    copy.write_text("".join(json.dumps(recorded, ensure_ascii=False) + "\n" for recorded in answers), "utf-8")
    return copy


def make_model(server: ScriptedServer, dialect: str, tape: Path, **fields: Any) -> ChatGLM:
    """Return a model that asks a scripted server in a dialect, through a tape."""
    return ChatGLM(endpoint_url=endpoint_of(server, dialect), tape=tape, **fields)


def make_offline_model(dialect: str, tape: Path | None, **fields: Any) -> ChatGLM:
    """Return a model whose endpoint is a port at which nobody listens, and that has a tape."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/" + ("v1" if dialect == "openai" else "")
    return ChatGLM(endpoint_url=url, tape=tape, **({"tape_mode": "replay"} | fields))


def read_lines(tape: Path) -> list[dict[str, Any]]:
    """Return what stands on a tape."""
    return [json.loads(line) for line in tape.read_text(encoding="utf-8").splitlines()]


def read_miss(ask: Callable[[], Any]) -> str:
    """Return the words of the error that says that an answer is not on the tape."""
    with pytest.raises(TapeError) as caught:
        ask()
    assert caught.value.kind == "not_on_tape"
    return str(caught.value)
