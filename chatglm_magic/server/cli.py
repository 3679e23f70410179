"""The command line of the local server, standalone or managed by a kernel."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from importlib.util import find_spec

from .engine_process import Engine, start_engine
from .models import ModelError, ModelFile, find_model

_MISSING_EXTRA = 'The local server needs xllamacpp. Install the extra: pip install "chatglm-magic[local]"'


def main(argv: list[str] | None = None) -> int:
    """Run the server until it ends; return the exit code."""
    args = _make_parser().parse_args(argv)
    try:
        return _run(args)
    except KeyboardInterrupt:  # before the loop has its own handler
        return 130


def _run(args: argparse.Namespace) -> int:
    parent = os.getppid()  # before anything else, while the parent certainly exists
    engine: Engine | None = None
    try:
        if find_spec("xllamacpp") is None:
            raise ModelError(_MISSING_EXTRA)
        model = find_model(args.model)
        if isinstance(model, ModelFile):
            # Started first, so that it loads while this process imports its web framework.
            engine = start_engine(model, args.threads, args.ctx)
    except ModelError as error:
        return _report_failure(str(error), args.managed)
    if args.managed:
        from .managed import run_managed

        asyncio.run(run_managed(model, engine, args, parent))
        return 0
    from .standalone import run_standalone

    return asyncio.run(run_standalone(model, engine, args))


def _report_failure(reason: str, managed: bool) -> int:
    if managed:
        from .managed import write_event

        write_event("failed", reason=reason)
    else:
        sys.stderr.write(f"{reason}\n")
    return 1


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_port.__name__, _positive.__name__ = "port (0 to 65535)", "positive number"  # argparse shows these


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chatglm_magic.server",
        description="Serve a model of the ChatGLM family, or any GGUF file, on this machine: "
        "ChatGLM's own POST / and OpenAI's /v1 on one port.",
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a GGUF file, or a Hugging Face repository with one (owner/name, owner/name:Q8_0); "
        "default: the built-in model",
    )
    parser.add_argument(
        "--port", type=_port, default=8000, help="port to listen on (default: 8000); 0 for any free one"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--token",
        action="store_true",
        help="require a token from clients: CHATGLM_SERVER_TOKEN, or else a new one that is printed",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="additional host name to accept; repeatable",
    )
    parser.add_argument(
        "--threads", type=_positive, help="number of threads (default: 1 built-in, else all cores but one)"
    )
    parser.add_argument("--ctx", type=_positive, help="context in tokens (default: 2048 built-in, else 8192)")
    parser.add_argument("--managed", action="store_true", help=argparse.SUPPRESS)
    return parser
