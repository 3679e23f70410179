"""``python -m tests.real_servers FOLDER [NAME…]``: one suite against real servers of one and the same model.

``FOLDER`` is what ``.ci/servers`` prepares: environments with the servers, and the built-in model as a directory.
All servers have the same weights, so at temperature 0 each must give the local server's answers to the letter.
Prints a table in Markdown, and fails if a check failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests

from chatglm_magic import ChatGLM, LocalServer, Session, lens
from chatglm_magic.errors import ChatGLMError
from chatglm_magic.server.models import builtin_model

from .support.local_servers import wait_for

START_SECONDS = 240
PROMPTS = ("What is temperature?", "What is top_p?", "你好", "Write one sentence about the sea.")
OPEN_PROMPT = "Name a colour."
PROXY_KEY = "sk-of-this-trial-alone-4f1c"
"""LiteLLM doesn't start without one."""
RAW_ENGINE = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {"glm-tiny"}
params.hostnames, params.port, params.ui = ["127.0.0.1"], int(sys.argv[2]), False
params.n_ctx, params.n_parallel = 2048, 1
server = xllamacpp.Server(params)
threading.Event().wait()
"""


@dataclass(frozen=True)
class Server:
    """A server that runs: what a model needs to speak to it, and its version."""

    name: str
    url: str
    model: str
    version: str = ""
    token: str | None = None

    def llm(self, **fields: Any) -> ChatGLM:
        """Return a model of this server, greedy unless told otherwise."""
        settings = {"model": self.model, "temperature": 0, "max_token": 60} | fields
        return ChatGLM(endpoint_url=self.url, api_key=self.token, **settings)


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_ready(url: str) -> bool:
    """Return whether a server answers."""
    with suppress(requests.RequestException):
        return requests.get(url, timeout=2).status_code < 500
    return False


@contextmanager
def running(command: list[str], url: str, log: Path) -> Iterator[None]:
    """Run a server until the block ends; the block begins when the URL answers."""
    with log.open("wb") as output:
        settings = os.environ | {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "HF_HUB_OFFLINE": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=settings, start_new_session=True
        )
    try:
        try:
            wait_for(lambda: process.poll() is not None or is_ready(url), START_SECONDS)
        except AssertionError:
            process.kill()
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} did not start; its last words:\n{log.read_text()[-2000:]}")
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def version_of(folder: Path, environment: str, package: str) -> str:
    """Return the version of a package in one of the prepared environments."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    found = subprocess.run(
        [folder / environment / "bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


@contextmanager
def local_server(folder: Path) -> Iterator[Server]:
    """The package's own, whose answers are the measure."""
    with LocalServer() as server:
        yield Server("local server", server.url, "glm-tiny", token=server.token)


@contextmanager
def vllm(folder: Path) -> Iterator[Server]:
    """vLLM on the processor."""
    port = free_port()
    command = [str(folder / "vllm/bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += [
        "--model",
        str(folder / "model"),
        "--served-model-name",
        "glm-tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--max-model-len",
        "512",
    ]
    with running([*command, "--enforce-eager"], f"http://127.0.0.1:{port}/health", folder / "vllm.log"):
        version = version_of(folder, "vllm", "vllm-cpu")
        yield Server("vLLM", f"http://127.0.0.1:{port}/v1", "glm-tiny", version)


@contextmanager
def transformers_serve(folder: Path) -> Iterator[Server]:
    """``transformers serve``, where a model's name is its folder."""
    port = free_port()
    command = [str(folder / "transformers/bin/transformers"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, f"http://127.0.0.1:{port}/health", folder / "transformers.log"):
        version = version_of(folder, "transformers", "transformers")
        yield Server("transformers serve", f"http://127.0.0.1:{port}/v1", str(folder / "model"), version)


@contextmanager
def llama_cpp(folder: Path) -> Iterator[Server]:
    """llama.cpp's own routes, without this package's front."""
    port = free_port()
    command = [sys.executable, "-c", RAW_ENGINE, str(builtin_model().path), str(port)]
    with running(command, f"http://127.0.0.1:{port}/health", folder / "llama.log"):
        yield Server("llama.cpp", f"http://127.0.0.1:{port}/v1", "glm-tiny")


@contextmanager
def litellm(folder: Path) -> Iterator[Server]:
    """A LiteLLM proxy in front of llama.cpp."""
    port, config = free_port(), folder / "litellm.json"
    with llama_cpp(folder) as behind:
        route = {"model": "openai/glm-tiny", "api_base": behind.url, "api_key": "none"}
        settings = {"model_list": [{"model_name": "glm-tiny", "litellm_params": route}]}
        config.write_text(json.dumps(settings | {"general_settings": {"master_key": PROXY_KEY}}))
        command = [str(folder / "litellm/bin/litellm"), "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        with running(command, f"http://127.0.0.1:{port}/health/liveliness", folder / "litellm.log"):
            version = version_of(folder, "litellm", "litellm")
            yield Server("LiteLLM", f"http://127.0.0.1:{port}/v1", "glm-tiny", version, PROXY_KEY)


SERVERS = {
    "local": local_server,
    "vllm": vllm,
    "transformers": transformers_serve,
    "llama.cpp": llama_cpp,
    "litellm": litellm,
}


class Failed(Exception):
    """A check did not hold; the message says what was seen."""


def expect(holds: object, seen: object) -> None:
    """Fail with what was seen unless a claim holds."""
    if not holds:
        raise Failed(str(seen))


def check_answers(server: Server, expected: list[str]) -> str:
    """Whole answers are the local server's."""
    answers = [server.llm().invoke(prompt) for prompt in PROMPTS]
    expect(answers == expected, answers)
    return "exact"


def check_stream(server: Server, expected: list[str]) -> str:
    """A stream comes in pieces that add up to the answer."""
    pieces = list(server.llm().stream(PROMPTS[0]))
    expect("".join(pieces) == expected[0], pieces)
    expect(len(pieces) > 3, f"{len(pieces)} pieces")
    return "in pieces"


def check_async(server: Server, expected: list[str]) -> str:
    """The asynchronous path gives the same, whole and streamed."""

    async def ask() -> tuple[str, str]:
        llm = server.llm()
        streamed = "".join([piece async for piece in llm.astream(PROMPTS[2])])
        return await llm.ainvoke(PROMPTS[2]), streamed

    answers = asyncio.run(ask())
    expect(answers == (expected[2], expected[2]), answers)
    return "exact"


def check_stop(server: Server, expected: list[str]) -> str:
    """A stop sequence ends the answer, and isn't part of it; so does the last of five."""
    word = expected[0].split()[3]
    for stop in ([word], ["@@", "##", "%%", "&&", word]):
        answer = server.llm(stop=stop).invoke(PROMPTS[0])
        expect(answer == expected[0].partition(word)[0], f"{stop}: {answer}")
    return "applied, five too"


def check_seed(server: Server, expected: list[str]) -> str:
    """One seed gives one answer; ten seeds give several."""
    llm = server.llm(temperature=1.5, top_p=1.0)
    drawn = [llm.invoke(OPEN_PROMPT, seed=seed) for seed in range(10)]
    again = [llm.invoke(OPEN_PROMPT, seed=seed) for seed in range(3)]
    expect(len(set(drawn)) > 2, drawn)
    return "steady" if again == drawn[:3] else "ignored"


def check_usage(server: Server, expected: list[str]) -> str:
    """Token counts come with whole answers and with streams."""
    whole = server.llm().generate([PROMPTS[0]]).generations[0][0].generation_info or {}
    counted = [chunk.generation_info or {} for chunk in server.llm().stream_plan(server.llm().plan(PROMPTS[0]))]
    streamed: dict[str, Any] = next((info["usage"] for info in counted if info.get("usage")), {})
    both = whole.get("usage", {}).get("completion_tokens"), streamed.get("completion_tokens")
    expect(all(both), both)
    return "whole and streamed"


def check_history(server: Server, expected: list[str]) -> str:
    """A conversation is sent with its roles, and read."""
    llm = server.llm(with_history=True)
    llm.invoke(PROMPTS[0])
    answer = llm.invoke("What did I just ask?")
    expect("temperature" in answer.lower(), answer)
    return "read"


def check_batch(server: Server, expected: list[str]) -> str:
    """Sixteen at once come back in order."""
    answers = server.llm(max_concurrency=8).batch([*PROMPTS] * 4)
    expect(answers == expected * 4, answers)
    return "in order"


def check_cancel(server: Server, expected: list[str]) -> str:
    """A stream that is left ends, and the next request is served."""
    stream = server.llm().stream(PROMPTS[0])
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    began = time.monotonic()
    expect(server.llm().invoke(PROMPTS[2]) == expected[2], "another answer after it")
    expect(time.monotonic() - began < 20, "the next one waited")
    return "serves on"


def check_errors(server: Server, expected: list[str]) -> str:
    """A wrong model, a prompt that is too long and an impossible max_token are errors with a kind."""
    kinds = []
    for ask in (
        partial(server.llm(model="nope").invoke, "hi"),
        partial(server.llm().invoke, "word " * 3000),
        partial(server.llm(max_token=80_000).invoke, "hi"),
    ):
        try:
            ask()
        except ChatGLMError as error:
            kinds.append(error.kind)
        else:
            kinds.append("answered")
    return ", ".join(kinds)


def check_lens(server: Server, expected: list[str]) -> str:
    """The lens has probabilities, or says that there are none."""
    session = Session()
    try:
        session.llm = server.llm()
        try:
            found = lens(PROMPTS[0], session, show=False, temperature=1, max_token=12)
        except ChatGLMError as error:
            return str(error.kind)
        named = min(len(position.candidates) for position in found)
        return f"all {named} tokens" if found.complete else f"{named} tokens"
    finally:
        session.close()


def check_session(server: Server, expected: list[str]) -> str:
    """A session needs no local server: it asks, remembers, and names the endpoint."""
    session = Session()
    try:
        session.llm = server.llm()
        answers = [str(session.ask(prompt)) for prompt in PROMPTS[:1]]
        expect(answers == expected[:1], answers)
        return "asks"
    finally:
        session.close()


CHECKS: dict[str, Callable[[Server, list[str]], str]] = {
    "answers": check_answers,
    "stream": check_stream,
    "async": check_async,
    "stop": check_stop,
    "seed": check_seed,
    "usage": check_usage,
    "history": check_history,
    "batch of 16": check_batch,
    "cancel": check_cancel,
    "wrong model, long prompt, max_token 80000": check_errors,
    "lens": check_lens,
    "session": check_session,
}


def run_check(check: Callable[[Server, list[str]], str], server: Server, expected: list[str]) -> tuple[bool, str]:
    """Return whether a check held, and a few words for the table."""
    try:
        return True, check(server, expected)
    except Failed as error:
        return False, f"**failed**: {error}"[:300]
    except Exception as error:
        return False, f"**{type(error).__name__}**: {error}"[:300]


def main(folder: Path, names: list[str]) -> int:
    """Run all checks against each server; print the table; return 1 if one failed."""
    with LocalServer() as measure:
        reference = Server("", measure.url, "glm-tiny", token=measure.token)
        expected = [reference.llm().invoke(prompt) for prompt in PROMPTS]
    columns: dict[str, list[tuple[bool, str]]] = {}
    for name in names or SERVERS:
        with ExitStack() as stack:
            server = stack.enter_context(SERVERS[name](folder))
            title = f"{server.name} {server.version}".strip()
            print(f"--- {title}", file=sys.stderr, flush=True)
            columns[title] = [run_check(check, server, expected) for check in CHECKS.values()]
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row, check in enumerate(CHECKS):
        print(f"| {check} | " + " | ".join(cells[row][1].replace("\n", " ") for cells in columns.values()) + " |")
    return 0 if all(held for cells in columns.values() for held, _ in cells) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
