"""``python -m tests.rivals``: what three clients make of rows H1 to H9, answers that servers in the field send.

Each input goes to ``ChatGLM``, to ``langchain_openai.ChatOpenAI``, and in ChatGLM's own protocol to
``langchain_community.llms.ChatGLM``. Prints a table in Markdown. Needs the extra ``rivals``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatglm_magic import ChatGLM

from .support.fault_scripts import DONE, dumped, event, piece, stop, streamed, whole
from .support.servers import Script, ScriptedServer, chunk, reply

WORDS = "模型不存在"


@dataclass(frozen=True)
class Case:
    """One input: what a server sends by OpenAI's protocol, by ChatGLM's own, and what a reader must get.

    ``expected`` is the answer's text, or words that an error must have. A ``marked`` answer isn't whole, which a
    client must show. What doesn't come as a stream (``streams``) is what a server sends to who asked for none.
    """

    row: str
    name: str
    expected: str
    openai: Script
    own: Script | None = None
    is_error: bool = False
    marked: bool = False
    streams: bool = True


def at(number: int, text: str) -> bytes:
    """Return an event whose choice has a number."""
    return event({"choices": [{"index": number, "delta": {"content": text}, "finish_reason": None}]})


def in_place(**choice: Any) -> bytes:
    """Return an event whose choice has these keys."""
    return event({"choices": [{"index": 0, "finish_reason": None} | choice]})


def as_stream(value: Any) -> Script:
    """Send a JSON object under the type of a stream, without an event."""
    return streamed(dumped(value))


GBK = f'{{"error":{{"message":"{WORDS}"}}}}'.encode("gbk")
GBK_REPLY = reply(GBK, status=400, kind="application/json; charset=gbk")
NO_WORKER = event({"text": "NETWORK ERROR: no worker", "error_code": 50001})
CASES = (
    Case(
        "H1", "choices counted by token", "Whisper", streamed(at(0, "Wh"), at(1, "is"), at(2, "per"), stop(), DONE)
    ),
    Case("H1", "choices counted from 1", "Whisper", streamed(at(1, "Wh"), at(1, "isper"), stop(), DONE)),
    Case("H2", "FastChat's error in a stream", "no worker", streamed(NO_WORKER), is_error=True),
    Case("H2", "the same after some text", "no worker", streamed(piece("你好"), NO_WORKER), is_error=True),
    Case("H2", "a gateway's code", "并发", streamed(event({"code": 1302, "msg": "并发数过高"})), is_error=True),
    Case(
        "H2",
        "the field `error:`",
        "bad grammar",
        streamed(b'error: {"code":400,"message":"bad grammar"}\n\n'),
        is_error=True,
    ),
    Case("H2", "bare JSON", "out of memory", as_stream({"error": {"message": "out of memory"}}), is_error=True),
    Case(
        "H3",
        "a list of parts",
        "你好",
        streamed(event(chunk(None, content=[{"type": "text", "text": "你好"}])), stop(), DONE),
    ),
    Case("H3", "`message` for `delta`", "你好", streamed(in_place(message={"content": "你好"}), stop(), DONE)),
    Case("H3", "`text` for `delta`", "你好", streamed(in_place(text="你好"), stop(), DONE)),
    Case(
        "H3", "a refusal", "I can't", streamed(event(chunk(None, content=None, refusal="I can't")), stop(), DONE)
    ),
    Case("H4", "a whole answer as a stream", "你好", as_stream(whole("openai"))),
    Case("H4", "the same in one event", "你好", streamed(event(whole("openai")), DONE)),
    Case("H5", "`abort`", "你好", streamed(piece("你好"), stop("abort"), DONE), marked=True),
    Case("H5", "`sensitive`", "你好", streamed(piece("你好"), stop("sensitive"), DONE), marked=True),
    Case("H5", "cut off, no reason", "你好", streamed(piece("你好")), marked=True),
    Case(
        "H6",
        "a lone `</think>`",
        "你好",
        streamed(piece("hm\n</think>\n\n你好"), stop(), DONE),
        reply({"response": "hm\n</think>\n\n你好", "history": []}),
    ),
    Case(
        "H6",
        "`<think>…</think>`",
        "你好",
        streamed(piece("<think>hm</think>你好"), stop(), DONE),
        reply({"response": "<think>hm</think>你好", "history": []}),
    ),
    Case("H7", "status 201", "你好", reply(whole("openai"), status=201), reply(whole("chatglm"), status=201)),
    Case(
        "H7",
        "JSON typed text/html",
        "你好",
        reply(whole("openai"), kind="text/html"),
        reply(whole("chatglm"), kind="text/html"),
        streams=False,
    ),
    Case(
        "H7",
        "`success: false`",
        "CUDA out of memory",
        reply({"error": "CUDA out of memory", "success": False}),
        reply({"response": "CUDA out of memory", "history": [], "success": False}),
        is_error=True,
        streams=False,
    ),
    Case("H8", "`data: [done]` at the end", "你好", streamed(piece("你好"), stop(), b"data: [done]\n\n")),
    Case(
        "H8",
        'an empty `"error"` in each chunk',
        "你好",
        streamed(event(chunk("你好") | {"error": {"code": 0, "message": ""}}), stop(), DONE),
    ),
    Case("H9", "a refusal in GBK", WORDS, GBK_REPLY, GBK_REPLY, is_error=True, streams=False),
)


def ask_ours(url: str, *, stream: bool) -> tuple[str, bool]:
    """Return the answer of this package's model, and whether it says that it isn't whole."""
    llm = ChatGLM(endpoint_url=f"{url}v1", max_retries=0, timeout=5)
    if stream:
        chunks = list(llm.stream_plan(llm.plan("hi")))
        reasons = [(chunk.generation_info or {}).get("finish_reason") for chunk in chunks]
        return "".join(chunk.text for chunk in chunks), any(reason not in (None, "stop") for reason in reasons)
    found = llm.generate(["hi"]).generations[0][0]
    return found.text, (found.generation_info or {}).get("finish_reason") not in (None, "stop")


def ask_openai(url: str, *, stream: bool) -> tuple[str, bool]:
    """Return the answer of ``langchain_openai``, and whether its metadata name another end than ``stop``."""
    from langchain_openai import ChatOpenAI

    llm: Any = ChatOpenAI(base_url=f"{url}v1", api_key="none", model="glm", max_retries=0, timeout=5)  # type: ignore[arg-type]
    if stream:
        parts = list(llm.stream("hi"))
        text = "".join(str(part.text) for part in parts)
        reasons = [part.response_metadata.get("finish_reason") for part in parts]
        return text, any(reason not in (None, "stop") for reason in reasons)
    message = llm.invoke("hi")
    return str(message.text), message.response_metadata.get("finish_reason") not in (None, "stop")


def ask_community(url: str, *, stream: bool) -> tuple[str, bool]:
    """Return the answer of the original, which does not stream and knows no other protocol."""
    from langchain_community.llms import ChatGLM as Original

    return str(Original(endpoint_url=url).invoke("hi")), False


def judge(case: Case, script: Script | None, ask: Callable[..., tuple[str, bool]], *, stream: bool) -> str:
    """Return in a few words what a client makes of an input, and whether that is right."""
    if script is None:
        return "–"
    with ScriptedServer(script) as server:
        try:
            text, marked = ask(server.url, stream=stream)
        except Exception as error:
            named = case.expected in str(error) or case.marked
            right = (case.is_error or case.marked) and named
            return f"{'✓' if right else '✗'} `{type(error).__name__}`" + ("" if named else " without the words")
    if case.is_error or not text:
        return f"✗ silent: `{text[:20]!r}`"
    if text != case.expected:
        return f"✗ `{text[:30]!r}`"
    return "✓" if marked or not case.marked else "✗ silent: as if whole"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print("| what the server sends | `ChatGLM`: `invoke` | `stream` | `ChatOpenAI` | the original `ChatGLM` |")
    print("|---|---|---|---|---|")
    for case in CASES:
        cells = [judge(case, case.openai, ask_ours, stream=stream) for stream in (False, True)]
        # A server sends a stream to who asked for one: what it sends whole is asked for whole.
        cells.append(judge(case, case.openai, ask_openai, stream=case.streams))
        cells.append(judge(case, case.own, ask_community, stream=False))
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
