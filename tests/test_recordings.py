"""Streams in the shapes of today's and yesterday's GLM servers, through the decoder in pieces of any size.

The files in ``recorded/`` are written by hand after the servers' code and published recordings; their line
ends, comments, nulls and missing ends are the servers' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import IncompleteAnswerError
from chatglm_magic.values import Delta
from chatglm_magic.wire.openai import OpenAIReader

from .support.servers import ScriptedServer, raw

RECORDED = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Heard:
    """What an answer comes to; ``kind`` is that of the error it ends with."""

    text: str
    reasoning: str = ""
    usage: dict[str, Any] | None = None
    finish_reason: str | None = "stop"
    model: str | None = None
    kind: str | None = None


def usage(prompt: int, completion: int, **details: Any) -> dict[str, Any]:
    """Token counts in OpenAI's words."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **details,
    }


EXPECTED = {
    "vllm": Heard(
        "北京是首都，上海是经济中心。",
        "用户问北京和上海的不同。",
        usage(17, 26, completion_tokens_details={"reasoning_tokens": 9}),
        model="glm-5.1-fp8",
    ),
    "vllm_old": Heard(
        "\n你好👋！有什么可以帮你", "\n先问好。", finish_reason="length", model="zai-org/GLM-4.5-Air"
    ),
    "vllm_both_names": Heard("好的。", "想一想", usage(8, 6), model="zai-org/GLM-4.5-Air"),
    "vllm_error": Heard("从前有座山，", finish_reason=None, model="glm-5.1-fp8", kind="server_error"),
    "sglang": Heard(
        "北京在北，上海在南。",
        "比较两座城市。",
        usage(15, 22, prompt_tokens_details=None, reasoning_tokens=7),
        model="zai-org/GLM-4.6",
    ),
    "llama_cpp": Heard("爱是一种选择。", "想好了。", usage(9, 11), model="glm-4-9b-0414"),
    "ollama": Heard("你好，很高兴见到你！", "用户在问候。", usage(6, 14), model="glm4:9b"),
    "transformers": Heard(
        "一加一等于二，1 < 2。", "\n需要简短。", usage(10, 21), model="zai-org/GLM-Z1-9B-0414@main"
    ),
    "zai": Heard(
        "你好，世界！",
        "1. 分析问题。",
        usage(
            15,
            249,
            prompt_tokens_details={"cached_tokens": 3},
            completion_tokens_details={"reasoning_tokens": 239},
        ),
        model="glm-4.7-flash",
    ),
    "zai_2025": Heard(
        " Hello, 你好.",
        "\nSay hello",
        usage(12, 16, prompt_tokens_details={"cached_tokens": 0}),
        "length",
        "glm-4.5",
    ),
    "chatglm3_demo": Heard("\n 你好！我是人工智能助手 ChatGLM3-6B。", model="chatglm3-6b"),
    "glm4_server": Heard("智谱的 GLM-4 在此。", model="glm-4"),
    "glm4v_server": Heard("图里有一只猫。", "", usage(1611, -7), None, "glm-4v", kind="incomplete"),
    "chatglm_cpp": Heard("你好👋！很高兴见到你。"),
}

CONTENT_TYPES = {"zai": "text/event-stream;charset=UTF-8", "transformers": "text/event-stream"}


def heard(name: str, size: int) -> Heard:
    """Return what the decoder makes of a recording that comes in pieces of ``size`` bytes."""
    data = (RECORDED / f"{name}.sse").read_bytes()
    reader = OpenAIReader({"content-type": CONTENT_TYPES.get(name, "text/event-stream; charset=utf-8")})
    deltas: list[Delta] = []
    kind = None
    try:
        for at in range(0, len(data), size):
            for delta in reader.feed(data[at : at + size]):  # one by one: those before an error count
                deltas.append(delta)
        deltas += reader.close()
        reader.check()
    except IncompleteAnswerError as error:
        kind = error.kind
    return Heard(
        "".join(delta.text for delta in deltas),
        "".join(delta.reasoning for delta in deltas),
        next((dict(delta.usage) for delta in reversed(deltas) if delta.usage), None),
        next((delta.finish_reason for delta in reversed(deltas) if delta.finish_reason), None),
        next((delta.model for delta in deltas if delta.model), None),
        kind,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 97, 4093, 1 << 20])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_recording_is_understood_in_pieces_of_any_size(name: str, size: int) -> None:
    """Text, reasoning, usage and finish reason don't depend on how the bytes were cut."""
    assert heard(name, size) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recording_is_an_answer_of_the_class(name: str) -> None:
    """The same comes out of ``ChatGLM``, whose text holds no reasoning."""
    data = (RECORDED / f"{name}.sse").read_bytes()
    kind = CONTENT_TYPES.get(name, "text/event-stream; charset=utf-8")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()
    expected = EXPECTED[name]
    with ScriptedServer(raw(head + data)) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1")
        if expected.kind:
            with pytest.raises(IncompleteAnswerError) as caught:
                llm.invoke("x")
            assert (caught.value.kind, caught.value.partial) == (expected.kind, expected.text)
            return
        answer = llm.generate(["x"]).generations[0][0]
    info = answer.generation_info or {}
    assert answer.text == expected.text
    assert info.get("reasoning", "") == expected.reasoning
    assert {name: info.get(name) for name in ("usage", "finish_reason", "model")} == {
        "usage": expected.usage,
        "finish_reason": expected.finish_reason,
        "model": expected.model,
    }


def test_every_recording_is_tested() -> None:
    """No file lies there unread."""
    assert {path.stem for path in RECORDED.glob("*.sse")} == set(EXPECTED)
