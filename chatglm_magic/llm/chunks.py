"""Converts an answer's pieces to LangChain's chunks, for synchronous and asynchronous requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from ..credentials import mask, mask_values
from ..errors import ChatGLMError
from ..values import Change, Delta
from ..wire.text_filters import SecretFilter, StopFilter

if TYPE_CHECKING:
    from .request_plan import RequestPlan


SEPARATORS = {"reasoning": "", "notice": "; "}
"""How to join info that comes in several parts."""

INFO_KEYS = ("reasoning", "finish_reason", "usage", "model", "changed", "notice", "retries", "logprobs", "thought")
LIST_KEYS = ("changed", "logprobs")
JSON_TYPES = {"usage": dict, "changed": list, "logprobs": list}
"""LangChain can only add these values up if they have the types of JSON."""

TEXT_ONLY = Delta()[1:]
KEY_REMOVED = Change("answer: an API key that the server repeated was removed")


class ChunkBuilder:
    """Converts pieces to chunks, applies the stop sequences, and collects the text.

    A chunk's ``generation_info`` holds what isn't text, under :data:`INFO_KEYS`; each value only once, since
    LangChain adds chunks up.
    """

    def __init__(self, stop: Sequence[str], changed: Sequence[Change] = (), secrets: Sequence[str] = ()) -> None:
        """:param secrets: sent to the server, which may repeat them; removed from text and info."""
        self._stop = stop
        self._stop_filter = StopFilter(stop)
        self._changed = tuple(changed)
        self._secrets = tuple(secrets)
        self._text_filter, self._reasoning_filter = SecretFilter(secrets), SecretFilter(secrets)
        self._parts: list[str] = []

    @classmethod
    def of(cls, plan: RequestPlan) -> ChunkBuilder:
        """Return a builder for the answer to a plan's request."""
        return cls(plan.stop, plan.changed, plan.request.secrets)

    @property
    def text(self) -> str:
        """The answer so far, without the text held back."""
        return "".join(self._parts)

    @property
    def done(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._stop_filter.hit

    def feed(self, delta: Delta) -> GenerationChunk | None:
        """Process a piece; return a chunk if there is anything to emit."""
        text, info = self.process(delta)
        return _chunk(text, info) if text or info else None

    def close(self) -> GenerationChunk:
        """End the answer; return the last chunk, which may be empty."""
        return _chunk(*self.finish())

    def process(self, delta: Delta) -> tuple[str, dict[str, Any]]:
        """As :meth:`feed`, but return text and info, which may both be empty."""
        if delta.thought:
            delta = delta._replace(reasoning=self._flush() + delta.reasoning)
            self._stop_filter, self._parts = StopFilter(self._stop), []
        text = self._stop_filter.feed(self._text_filter.feed(delta.text))
        info: dict[str, Any] = {}
        if delta[1:] != TEXT_ONLY:  # most pieces have only text
            for name in INFO_KEYS:
                if value := getattr(delta, name):
                    info[name] = JSON_TYPES[name](value) if name in JSON_TYPES else value
        if self._changed:  # changes of the request are reported with the first piece
            info["changed"] = [*self._changed, *delta.changed]
            self._changed = ()
        if self._secrets:
            self._mask_info(info, ends=bool(text) or delta.thought)
        if self.done:
            info["finish_reason"] = "stop"
        self._parts.append(text)
        return text, info

    def finish(self) -> tuple[str, dict[str, Any]]:
        """As :meth:`close`, but return text and info."""
        reasoning = self._reasoning_filter.close()
        info: dict[str, Any] = {"reasoning": reasoning} if reasoning else {}
        if self._text_filter.hit or self._reasoning_filter.hit:
            info["changed"] = [KEY_REMOVED]
        text = self._flush()
        self._parts.append(text)
        return text, info

    def attach_partial(self, error: ChatGLMError) -> None:
        """Set an error's ``partial`` to the text received so far."""
        error.partial = self.text + self._flush()
        # A library's exception refers to its request, and so to the key.
        error.__context__ = error.__cause__ = None

    def _flush(self) -> str:
        return self._stop_filter.feed(self._text_filter.close()) + self._stop_filter.close()

    def _mask_info(self, info: dict[str, Any], *, ends: bool) -> None:
        """Remove secrets from the info; reasoning, which comes in pieces, has its own filter.

        :param ends: whether the thinking has ended, so that no more of it is held back.
        """
        if reasoning := info.pop("reasoning", None):
            if ready := self._reasoning_filter.feed(reasoning):
                info["reasoning"] = ready
        elif ends and (held := self._reasoning_filter.close()):
            info["reasoning"] = held
        for name in ("finish_reason", "usage", "model"):
            if name in info:
                info[name] = mask_values(info[name], self._secrets)
        if "changed" in info:
            info["changed"] = [Change(mask(change, self._secrets), change.name) for change in info["changed"]]


def _chunk(text: str, info: dict[str, Any]) -> GenerationChunk:
    return GenerationChunk(text=text, generation_info=info or None)


def merge_chunks(chunks: list[GenerationChunk]) -> Generation:
    """Add chunks up; text and reasoning are joined once, since adding pairs is quadratic."""
    info: dict[str, Any] = {}
    texts: list[str] = []
    for chunk in chunks:
        chunk_info = dict(chunk.generation_info or {})
        if chunk_info.pop("thought", False):  # the text so far was thinking
            info["reasoning"] = [*info.get("reasoning", ()), "".join(texts)]
            texts.clear()
        texts.append(chunk.text)
        for name in SEPARATORS:
            if name in chunk_info:
                info.setdefault(name, []).append(chunk_info.pop(name))
        for name in LIST_KEYS:
            if values := chunk_info.pop(name, None):
                info.setdefault(name, []).extend(values)
        info |= chunk_info
    info |= {name: separator.join(info[name]) for name, separator in SEPARATORS.items() if name in info}
    return Generation(text="".join(texts), generation_info=info or None)


def to_llm_result(answers: list[Generation]) -> LLMResult:
    """Return answers in LangChain's form, with their total token counts and the model's name."""
    usage: dict[str, int] = {}
    for answer in answers:
        for name, count in ((answer.generation_info or {}).get("usage") or {}).items():
            if isinstance(count, int):
                usage[name] = usage.get(name, 0) + count
    models = [info["model"] for answer in answers if (info := answer.generation_info) and info.get("model")]
    totals = {"token_usage": usage} if usage else {}
    return LLMResult(
        generations=[[answer] for answer in answers],
        llm_output=totals | ({"model_name": models[0]} if models else {}) or None,
    )


def emit(chunk: GenerationChunk, run_manager: CallbackManagerForLLMRun | None) -> GenerationChunk:
    """Call the callbacks with a chunk; return it."""
    if run_manager:
        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk


async def aemit(chunk: GenerationChunk, run_manager: AsyncCallbackManagerForLLMRun | None) -> GenerationChunk:
    """Call the callbacks with a chunk; return it."""
    if run_manager:
        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk
