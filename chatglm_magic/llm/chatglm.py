"""``ChatGLM``: a LangChain LLM with every field and default of ``langchain_community.llms.ChatGLM``."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.llms import LLM
from langchain_core.outputs import GenerationChunk, LLMResult
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from ..client.sync import SyncClient
from ..errors import ChatGLMError
from . import fields
from .assembly import Assembly, atold, told, whole
from .keys import origin
from .plan import Plan


class _Own:
    """What an object has for itself alone: never copied, never pickled, made anew instead."""

    def __init__(self) -> None:
        self.client = SyncClient()
        self.lock = threading.Lock()
        self.observers: list[Callable[[str, Any], None]] = []

    def __deepcopy__(self, memo: Any) -> _Own:
        return _Own()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Own, ()


class ChatGLM(LLM):
    """A GLM model behind a URL, in ChatGLM's own protocol or OpenAI's.

    .. code-block:: python

        llm = ChatGLM(endpoint_url="http://127.0.0.1:8000/", temperature=0.5)
        llm.invoke("北京和上海有什么不同？")

    :raises ParameterError: at construction and on assignment, for a wrong value or a name that is no field.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid", hide_input_in_errors=True)

    endpoint_url: str = "http://127.0.0.1:8000/"
    """Posted to as it is in ChatGLM's own protocol; the base or the full URL of a ``/v1`` server."""
    model_kwargs: dict[str, Any] | None = None
    """Further keys of the request's body."""
    max_token: fields.MaxToken | None = 20000
    """Tokens; the prompt, the history and the answer together in ChatGLM's own protocol, the answer on /v1."""
    temperature: fields.Temperature | None = 0.1
    """0 to 10; 0 is greedy. None leaves it to the server."""
    history: fields.Pairs = Field(default_factory=list)
    """The conversation as [question, answer] pairs; sent even when ``with_history`` is off."""
    top_p: fields.TopP | None = 0.7
    """0 to 1: the share of the probability that is kept. None leaves it to the server."""
    with_history: bool = False
    """Whether finished exchanges are added to ``history``."""

    model: str | None = None
    """The served model's name; left out where unset."""
    dialect: Literal["chatglm", "openai"] | None = None
    """None follows from the URL: a path that ends in /v1, /v4 or /chat/completions is OpenAI's."""
    api_key: SecretStr | None = None
    """Sent to the endpoint's origin alone; the environment's CHATGLM_API_KEY where unset."""
    system: str | None = None
    """The system prompt."""
    stop: fields.Strings | None = None
    """Texts that end the answer; plain text, not patterns."""
    seed: fields.Seed | None = None
    """Makes sampling repeatable where the server takes it."""
    thinking: Literal["off", "on", "low", "high", "max"] | None = None
    """None is the server's default."""
    timeout: float | dict[str, float] | None = None
    """Seconds to wait for bytes, or a mapping of connect (5), first_byte (600) and idle (120)."""
    max_retries: int = 2
    """How often a question is asked again when nothing was sent, or after 429 and 503."""
    headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    """Further HTTP headers, for the endpoint's origin alone."""
    stream_usage: bool = True
    """Whether a stream is asked for its token counts (``stream_options``)."""

    _own: _Own = PrivateAttr(default_factory=_Own)

    def __init__(self, **values: Any) -> None:
        known = type(self).model_fields
        for name in values:
            if name not in known:
                raise fields.unknown(name, known)
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = fields.refused(error)
        else:
            return
        raise problem

    def __setattr__(self, name: str, value: Any) -> None:
        known = type(self).model_fields
        if name not in known and not name.startswith("_") and not hasattr(type(self), name):
            raise fields.unknown(name, known)
        left = name == "endpoint_url" and origin(str(value)) != origin(self.endpoint_url)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            problem = fields.refused(error)
        else:
            if left:  # a key never goes to another origin than the one it was given for
                super().__setattr__("api_key", None)
                super().__setattr__("headers", None)
            if name in known:
                for observer in tuple(self._own.observers):
                    observer(name, getattr(self, name))
            return
        raise problem

    @property
    def _llm_type(self) -> str:
        return "chat_glm"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """All that can change an answer, so that a cache never gives a stale one; never the key."""
        names = (
            *("endpoint_url", "model_kwargs", "max_token", "temperature", "history", "top_p", "with_history"),
            *("model", "dialect", "system", "stop", "seed", "thinking"),
        )
        return {name: getattr(self, name) for name in names} | {"model_kwargs": self.model_kwargs or {}}

    @property
    def lc_secrets(self) -> dict[str, str]:
        return {"api_key": "CHATGLM_API_KEY"}

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's own values as the fields would take them.

        :raises ParameterError: for a value that a field would refuse.
        """
        found = {}
        for name, value in values.items():
            try:
                copy = self.__pydantic_validator__.validate_assignment(self.model_construct(), name, value)
            except ValidationError as error:
                problem = fields.refused(error)
            else:
                found[name] = getattr(copy, name)
                continue
            raise problem
        return found

    def plan(self, prompt: str, stop: list[str] | None = None, **kwargs: Any) -> Plan:
        """Return the exact request a question would send, without sending it."""
        return Plan(self, prompt, stop, kwargs)

    def close(self) -> None:
        """Close the pooled connections; the next question opens new ones."""
        self._own.client.close()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return state | {"__dict__": state["__dict__"] | {"api_key": None, "headers": None}}

    def __copy__(self) -> ChatGLM:
        copied = super().__copy__()
        copied._own = _Own()
        return copied

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        return whole(list(self._stream(prompt, stop, **kwargs))).text

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        answers = [whole(list(self._stream(prompt, stop, **kwargs))) for prompt in prompts]
        return LLMResult(generations=[[answer] for answer in answers])

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        answers = [whole([c async for c in self._astream(prompt, stop, **kwargs)]) for prompt in prompts]
        return LLMResult(generations=[[answer] for answer in answers])

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        plan = self.plan(prompt, stop, **kwargs)
        assembly = Assembly(plan.stop)
        try:
            with closing(self._own.client.stream(plan.call)) as deltas:
                for delta in deltas:
                    if chunk := assembly.feed(delta):
                        yield told(chunk, run_manager)
                    if assembly.done:
                        break
        except ChatGLMError as error:
            assembly.failed(error)
            raise
        yield told(assembly.close(), run_manager)
        self._remember(plan, assembly.text)

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        from ..client import aio

        plan = self.plan(prompt, stop, **kwargs)
        assembly = Assembly(plan.stop)
        try:
            async with aclosing(aio.stream(plan.call)) as deltas:
                async for delta in deltas:
                    if chunk := assembly.feed(delta):
                        yield await atold(chunk, run_manager)
                    if assembly.done:
                        break
        except ChatGLMError as error:
            assembly.failed(error)
            raise
        yield await atold(assembly.close(), run_manager)
        self._remember(plan, assembly.text)

    def _remember(self, plan: Plan, answer: str) -> None:
        if plan.with_history:
            with self._own.lock:
                self.history = [*self.history, [plan.prompt, answer]]
