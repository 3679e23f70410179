"""The server as a program in a terminal."""

from __future__ import annotations

import argparse
import asyncio
import errno
import ipaddress
import os
import secrets
import signal
import sys
import traceback

from .app import Launch, bind, listen, make_app, url_of
from .engine_process import Engine, EngineStartError
from .guard import Guard
from .models import HubModel, ModelError, ModelFile


async def run_standalone(model: ModelFile | HubModel, engine: Engine | None, args: argparse.Namespace) -> int:
    """Serve until a signal arrives; then exit the process."""
    launch = Launch(model, engine, args)
    try:
        sock = bind(args.host, args.port)
    except OSError as error:
        sys.stderr.write(_explain_bind_error(error, args.host, args.port) + "\n")
        launch.exit(1)
    token = choose_token(args)
    is_open = not ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback
    host = f"[{args.host}]" if ":" in args.host else args.host
    guard = Guard(token, [*args.allow_host, host], any_ip=is_open)
    await listen(make_app(launch.client, guard), sock)
    stopped = _catch_signals()
    if is_open and token is None:
        sys.stderr.write(
            f"Warning: everyone on the network can use this server ({args.host}). "
            "Require a token with --token, or omit --host to serve this machine only.\n"
        )
    _print_addresses(url_of(sock), launch.client.name, token)
    report = asyncio.ensure_future(_report_engine(launch))
    report.add_done_callback(lambda _: None if stopped.done() else stopped.set_result(None))
    await stopped
    if report.done():
        if unexpected := report.exception():
            traceback.print_exception(unexpected)
        launch.exit(1)
    _print("\nStopped.")
    launch.exit(0)


def choose_token(args: argparse.Namespace) -> str | None:
    """Return the token that clients must send: CHATGLM_SERVER_TOKEN or a new one; None without --token."""
    if not args.token:
        return None
    return os.environ.get("CHATGLM_SERVER_TOKEN", "").strip() or secrets.token_urlsafe(24)


async def _report_engine(launch: Launch) -> None:
    """Print when the model is ready and when its engine ends; return only if it can't be loaded."""
    try:
        seconds = await launch.wait_until_ready(lambda *_: None)
    except (ModelError, EngineStartError) as error:
        sys.stderr.write(f"The model {launch.client.name} can't be served: {error}\n")
        return
    duration = f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    _print(f"Ready: {launch.client.name} loaded in {duration}. Ctrl-C ends it.")
    assert launch.engine is not None
    reason = await asyncio.wrap_future(launch.engine.exit_reason)
    sys.stderr.write(f"The model's process has ended ({reason}). Ctrl-C, then start the server again.\n")
    await asyncio.Event().wait()  # keep responding, with an error that says so


def _print_addresses(url: str, name: str, token: str | None) -> None:
    lines = [
        f"chatglm-magic serves {name}",
        f"  ChatGLM's own protocol   POST {url}/",
        f"  OpenAI's protocol             {url}/v1",
        f"  in a notebook            %chatglm_config endpoint_url={url}/v1",
    ]
    if token is not None:
        lines.append(f"  token                    {token}")
    _print("\n".join(lines))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _catch_signals() -> asyncio.Future[None]:
    """Return a future that completes at an interrupt or a request to terminate."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    return stopped


def _explain_bind_error(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken. Choose another with --port, or any free one with --port 0."
    return f"Can't listen on {host} port {port}: {error.strerror or error}. Choose others with --host and --port."
