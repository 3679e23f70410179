"""Makes LangChain's chunks of an answer's pieces: the one place for both the sync and the async road."""

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


JOINED = {"reasoning": "", "notice": "; "}
"""What stands between the parts of an information that comes in several."""

INFO = ("reasoning", "finish_reason", "usage", "model", "changed", "notice", "retries", "logprobs", "thought")
NOTHING_ELSE = Delta()[1:]
REPEATED = Change("answer: a key that the server repeated was taken out")
LISTED = ("changed", "logprobs")
AS_JSON = {"usage": dict, "changed": list, "logprobs": list}
"""Values that LangChain can add up only as the types that JSON has."""


class ChunkBuilder:
    """Feeds on pieces, applies the stop strings, and remembers the text so far.

    A chunk's ``generation_info`` carries what isn't text, under the names of :data:`INFO`; each key only in the
    chunk where it is news, since LangChain adds chunks up.
    """

    def __init__(self, stop: Sequence[str], changed: Sequence[Change] = (), secrets: Sequence[str] = ()) -> None:
        """:param secrets: what the server knows and may repeat; it is taken out of text and facts."""
        self._stop = stop
        self._filter = StopFilter(stop)
        self._changed = tuple(changed)
        self._secrets = tuple(secrets)
        self._no_secrets, self._no_secret_thoughts = SecretFilter(secrets), SecretFilter(secrets)
        self._parts: list[str] = []

    @classmethod
    def of(cls, plan: RequestPlan) -> ChunkBuilder:
        """Return what assembles the answer to a plan's request."""
        return cls(plan.stop, plan.changed, plan.call.secrets)

    @property
    def text(self) -> str:
        """The answer so far, without what is held back."""
        return "".join(self._parts)

    @property
    def done(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._filter.hit

    def feed(self, delta: Delta) -> GenerationChunk | None:
        """Take in a piece; return a chunk if there is anything to hand out."""
        text, info = self.take(delta)
        return _chunk(text, info) if text or info else None

    def close(self) -> GenerationChunk:
        """End the answer; the last chunk holds what was held back, and may be empty."""
        return _chunk(*self.finish())

    def take(self, delta: Delta) -> tuple[str, dict[str, Any]]:
        """As :meth:`feed`, of the text and of what isn't text, which may both be empty."""
        if delta.thought:
            delta = delta._replace(reasoning=self._rest() + delta.reasoning)
            self._filter, self._parts = StopFilter(self._stop), []
        text = self._filter.feed(self._no_secrets.feed(delta.text))
        info: dict[str, Any] = {}
        if delta[1:] != NOTHING_ELSE:  # most pieces bring text alone
            for name in INFO:
                if value := getattr(delta, name):
                    info[name] = AS_JSON[name](value) if name in AS_JSON else value
        if self._changed:  # what was changed before anything was sent is news of the first piece
            info["changed"] = [*self._changed, *delta.changed]
            self._changed = ()
        if self._secrets:
            self._clean(info, ends=bool(text) or delta.thought)
        if self.done:
            info["finish_reason"] = "stop"
        self._parts.append(text)
        return text, info

    def finish(self) -> tuple[str, dict[str, Any]]:
        """As :meth:`close`, of the text and of what isn't text."""
        thoughts = self._no_secret_thoughts.close()
        info: dict[str, Any] = {"reasoning": thoughts} if thoughts else {}
        if self._no_secrets.hit or self._no_secret_thoughts.hit:
            info["changed"] = [REPEATED]
        text = self._rest()
        self._parts.append(text)
        return text, info

    def attach_partial(self, error: ChatGLMError) -> None:
        """Give an error the text that came before it."""
        error.partial = self.text + self._rest()
        # A library's error knows its request, and with it the key.
        error.__context__ = error.__cause__ = None

    def _rest(self) -> str:
        return self._filter.feed(self._no_secrets.close()) + self._filter.close()

    def _clean(self, info: dict[str, Any], *, ends: bool) -> None:
        """Remove secrets from everything but the text; reasoning, which comes in pieces, has its own filter.

        :param ends: whether the thinking has ended, so that nothing more of it need be held back.
        """
        if reasoning := info.pop("reasoning", None):
            if ready := self._no_secret_thoughts.feed(reasoning):
                info["reasoning"] = ready
        elif ends and (held := self._no_secret_thoughts.close()):
            info["reasoning"] = held
        for name in ("finish_reason", "usage", "model"):
            if name in info:
                info[name] = mask_values(info[name], self._secrets)
        if "changed" in info:
            info["changed"] = [Change(mask(change, self._secrets), change.name) for change in info["changed"]]


def _chunk(text: str, info: dict[str, Any]) -> GenerationChunk:
    return GenerationChunk(text=text, generation_info=info or None)


def merge_chunks(chunks: list[GenerationChunk]) -> Generation:
    """Add chunks up; text and reasoning in one go, since adding pairs is quadratic."""
    info: dict[str, Any] = {}
    texts: list[str] = []
    for chunk in chunks:
        news = dict(chunk.generation_info or {})
        if news.pop("thought", False):  # what came before was no text
            info["reasoning"] = [*info.get("reasoning", ()), "".join(texts)]
            texts.clear()
        texts.append(chunk.text)
        for name in JOINED:
            if name in news:
                info.setdefault(name, []).append(news.pop(name))
        for name in LISTED:
            if listed := news.pop(name, None):
                info.setdefault(name, []).extend(listed)
        info |= news
    info |= {name: between.join(info[name]) for name, between in JOINED.items() if name in info}
    return Generation(text="".join(texts), generation_info=info or None)


def to_llm_result(answers: list[Generation]) -> LLMResult:
    """Return answers as LangChain wants them, with the tokens of all of them and the model's name."""
    usage: dict[str, int] = {}
    for answer in answers:
        for name, count in ((answer.generation_info or {}).get("usage") or {}).items():
            if isinstance(count, int):
                usage[name] = usage.get(name, 0) + count
    models = [info["model"] for answer in answers if (info := answer.generation_info) and info.get("model")]
    told = {"token_usage": usage} if usage else {}
    return LLMResult(
        generations=[[answer] for answer in answers],
        llm_output=told | ({"model_name": models[0]} if models else {}) or None,
    )


def emit(chunk: GenerationChunk, run_manager: CallbackManagerForLLMRun | None) -> GenerationChunk:
    """Tell the callbacks of a chunk; return it."""
    if run_manager:
        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk


async def aemit(chunk: GenerationChunk, run_manager: AsyncCallbackManagerForLLMRun | None) -> GenerationChunk:
    """Tell the callbacks of a chunk; return it."""
    if run_manager:
        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
    return chunk
