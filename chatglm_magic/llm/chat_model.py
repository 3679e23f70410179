"""``GLMChatModel``: a LangChain chat model for GLM, with tools, thinking and structured output."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, BaseLanguageModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr, model_validator

from ..errors import ChatGLMError
from . import fields, structured
from .base import (
    ANSWER_CHANGING,
    CHAT_NAMES,
    STRICT_CONFIG,
    TABLE_NAMES,
    ChatBodyFields,
    ChatGLMFields,
    ModelFields,
    refuse_both_names,
    to_chat_names,
)
from .batch import BatchMixin
from .chat_chunks import AnswerBuilder, ChatPiece, last_chunk, to_chunk, to_message
from .keys import Credentials
from .messages import to_openai_messages
from .options import CALL_OPTIONS, parse_chat_options, to_openai_tool_choice, to_openai_tools
from .request_plan import RequestPlan, plan_chat
from .runtime import prepare_langchain
from .token_count import TokenCountMixin

LANGCHAIN_FIELDS = ("cache", "verbose", "callbacks", "tags", "custom_get_token_ids")
"""Fields of LangChain's base class that are copied once."""

SHARED_FIELDS = {
    name: field
    for name, field in (ModelFields.model_fields | ChatBodyFields.model_fields).items()
    if name not in BaseLanguageModel.model_fields
}
"""Fields of both classes that this package defines."""


class GLMChatModel(BatchMixin[AIMessage], TokenCountMixin, ModelFields, ChatBodyFields, BaseChatModel):  # type: ignore[misc]
    """A GLM model behind a URL as a LangChain chat model.

    .. code-block:: python

        model = GLMChatModel(endpoint_url="http://127.0.0.1:8000/v1", max_tokens=200)
        model.invoke("北京和上海有什么不同？").text
        model.bind_tools([get_weather]).invoke("What's the weather in Paris?").tool_calls

    It has the fields of :class:`~chatglm_magic.ChatGLM` without ``history`` and ``with_history``: the messages are
    the conversation. ``max_tokens`` is ``max_token`` there; both names work. Only fields that were set are sent.

    :raises ChatGLMError: from every method that sends a request; with its ``kind`` and the ``partial`` answer.
    """

    model_config = STRICT_CONFIG

    tool_text: Literal["read", "keep"] = "read"
    """``read`` moves tool calls that a server left in an answer's text to ``tool_calls``, ``keep`` leaves them."""
    streaming: bool = False
    """Whether ``invoke`` calls callbacks for each piece; the request is for a stream in either case."""

    _source: ChatGLMFields | None = PrivateAttr(default=None)
    """The model whose fields this one mirrors."""

    def __init__(self, **values: Any) -> None:
        refuse_both_names(values)
        super().__init__(**to_chat_names(values))

    @property
    def max_token(self) -> int | None:
        """The name that ``max_tokens`` has in ``ChatGLM``."""
        return self.max_tokens

    @max_token.setter
    def max_token(self, value: int | None) -> None:
        self.max_tokens = value

    def __setattr__(self, name: str, value: Any) -> None:
        name = CHAT_NAMES.get(name, name)
        source = (self.__pydantic_private__ or {}).get("_source") if name in SHARED_FIELDS else None
        if source is None:
            super().__setattr__(name, value)
        else:
            setattr(source, TABLE_NAMES.get(name, name), value)
            self._copy_fields(source)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, which mirrors no other model."""
        self._sync()
        copied = super().model_copy(update=update, deep=deep)
        copied._source = None
        return copied

    @model_validator(mode="after")
    def _set_model_profile(self) -> Self:
        """Leave the profile as it is: LangChain assigns it here, which with ``STRICT_CONFIG`` would recurse."""
        return self

    @property
    def _llm_type(self) -> str:
        return "chat_glm_chat"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        return ["chatglm_magic"]

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """All that can change an answer; never the key."""
        values, were_set, _ = self.snapshot()
        return {
            **{name: values[name] for name in ANSWER_CHANGING if name in were_set and name in values},
            "endpoint_url": self.endpoint_url,
            "model_kwargs": self.model_kwargs,
            "tool_text": self.tool_text,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """Return the current key of the model in caches; LangChain computes it only once per model."""
        return f"{self._llm_type} {sorted({**self._identifying_params, **kwargs, 'stop': stop}.items())}"

    def snapshot(self) -> tuple[dict[str, Any], frozenset[str], Credentials]:
        """As :meth:`ModelFields.snapshot`, with the current fields of a model that this one mirrors."""
        self._sync()
        values, were_set, credentials = super().snapshot()
        by_row = {TABLE_NAMES.get(name, name): value for name, value in values.items()}
        return by_row, frozenset(TABLE_NAMES.get(name, name) for name in were_set), credentials

    def validate_arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """As :meth:`ModelFields.validate_arguments`, with the names of the table.

        :raises ParameterError: for a value that is invalid for its field.
        """
        validated = super().validate_arguments(to_chat_names(values))
        return {TABLE_NAMES.get(name, name): value for name, value in validated.items()}

    @classmethod
    def from_llm(cls, llm: ChatGLMFields, *, mirror: bool = False) -> GLMChatModel:
        """Return a chat model with the fields, the connections and the key of a ``ChatGLM``.

        :param mirror: whether later changes of either model's fields apply to both.
        """
        model = cls(**{name: getattr(llm, name) for name in LANGCHAIN_FIELDS if name in llm.model_fields_set})
        model._copy_fields(llm)
        model._source = llm if mirror else None
        return model

    @property
    def source(self) -> ChatGLMFields | None:
        """The model whose fields this one mirrors, or None."""
        return self._source

    def _sync(self) -> None:
        if self._source is not None:
            self._copy_fields(self._source)

    def _copy_fields(self, llm: ChatGLMFields) -> None:
        values, were_set, credentials = llm.snapshot()
        # Defaults of the original aren't copied: a server applies its own.
        set_values = to_chat_names({name: value for name, value in values.items() if name in were_set})
        for name, field in SHARED_FIELDS.items():
            self.__dict__[name] = set_values.get(name, field.get_default(call_default_factory=True))
        own = self.model_fields_set - SHARED_FIELDS.keys()
        object.__setattr__(self, "__pydantic_fields_set__", own | (set_values.keys() & SHARED_FIELDS.keys()))
        self._credentials = credentials
        self._runtime.share(llm._runtime)

    def plan(self, input: LanguageModelInput, stop: list[str] | None = None, **kwargs: Any) -> RequestPlan:
        """Return the exact request that messages would send, without sending it.

        .. code-block:: python

            plan = model.plan("Why is the sea blue?", temperature=0.5)
            plan.request.url, plan.request.body, plan.changed
        """
        return self._plan(self._convert_input(input).to_messages(), stop, kwargs)

    def _plan(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> RequestPlan:
        refuse_both_names(kwargs)
        arguments = {TABLE_NAMES.get(name, name): value for name, value in kwargs.items()}
        chat = parse_chat_options(arguments)
        further = {name: value for name, value in arguments.items() if name not in CALL_OPTIONS}
        return plan_chat(self, to_openai_messages(messages), chat, stop, further)

    def bind_tools(
        self,
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | Mapping[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model. Its calls are returned in the message; they aren't executed.

        .. code-block:: python

            model.bind_tools([get_weather], tool_choice="any").invoke("Is it sunny?").tool_calls[0]["args"]

        :param tools: functions, pydantic classes, TypedDicts, LangChain tools, runnables converted to tools, or
            dicts in OpenAI's, Anthropic's or JSON schema's form.
        :param tool_choice: ``auto``, ``none``, ``any`` or ``required``, the name of a tool, or OpenAI's object. If
            a server only supports ``auto``, that is sent, and the answer's ``changed`` notes it.
        :param strict: whether the server should enforce the schemas, if it can.
        :param parallel_tool_calls: whether the model may make several calls at once.
        :raises ParameterError: if the choice isn't the name of a tool.
        """
        converted = to_openai_tools(tools, strict)
        options: dict[str, Any] = {"tools": converted}
        if tool_choice is not None and tool_choice is not False and converted:
            options["tool_choice"] = to_openai_tool_choice(tool_choice, converted)
        if parallel_tool_calls is not None:
            options["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(**options, **kwargs)

    def with_structured_output(
        self,
        schema: Any,
        *,
        method: structured.Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        retries: int = 0,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable whose answers are objects of a schema.

        .. code-block:: python

            class City(BaseModel):
                name: str
                inhabitants: int

            model.with_structured_output(City).invoke("The capital of France")

        :param schema: a pydantic class, a TypedDict, or a JSON schema with a title; objects of the latter two are
            dicts, and partial ones are streamed.
        :param method: ``json_schema`` lets the server enforce the schema; if it can't (Z.ai), the schema is put in
            the prompt. ``function_calling`` forces a call of a tool with this schema, ``json_mode`` requires JSON.
        :param include_raw: return a dict of ``raw``, ``parsed`` and ``parsing_error`` instead of raising.
        :param retries: maximum number of retries for an invalid answer.
        :raises InvalidResponseError: ``schema``, from the runnable, for an invalid answer; its ``partial`` is the
            text.
        """
        return structured.structured_runnable(
            self, schema, method, include_raw=include_raw, strict=strict, retries=retries, arguments=kwargs
        )

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Send messages, and yield chunks as they arrive; their sum is what :meth:`invoke` returns."""
        fields.refuse_config_arguments(kwargs)
        prepare_langchain(self)
        return super().stream(input, config, stop=stop, **kwargs)

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As :meth:`stream`, asynchronously."""
        fields.refuse_config_arguments(kwargs)
        prepare_langchain(self)
        return super().astream(input, config, stop=stop, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Send each list of messages."""
        prepare_langchain(self)
        return super().generate(*args, **kwargs)

    async def agenerate(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`generate`, concurrently."""
        prepare_langchain(self)
        return await super().agenerate(*args, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        plan = self._plan(messages, stop, kwargs)
        builder = self._builder(plan, kwargs)
        return _result(to_message(list(self._send(plan, builder)), builder))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await self._afetch_message(messages, stop, kwargs))

    async def _afetch_message(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> AIMessage:
        plan = self._plan(messages, stop, kwargs)
        builder = self._builder(plan, kwargs)
        async with aclosing(self._asend(plan, builder)) as pieces:
            return to_message([piece async for piece in pieces], builder)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        plan = self._plan(messages, stop, kwargs)
        builder = self._builder(plan, kwargs)
        with closing(self._send(plan, builder)) as pieces:
            for piece in pieces:
                yield to_chunk(piece)
        yield last_chunk(builder)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        plan = self._plan(messages, stop, kwargs)
        builder = self._builder(plan, kwargs)
        async with aclosing(self._asend(plan, builder)) as pieces:
            async for piece in pieces:
                yield to_chunk(piece)
        yield last_chunk(builder)

    def _builder(self, plan: RequestPlan, kwargs: Mapping[str, Any]) -> AnswerBuilder:
        return AnswerBuilder(plan, keep_tool_text=kwargs.get("tool_text", self.tool_text) == "keep")

    def _send(self, plan: RequestPlan, builder: AnswerBuilder) -> Generator[ChatPiece, None, None]:
        try:
            client = self._runtime.client if plan.tape is None else plan.tape.wrap(self._runtime.client)
            with closing(client.stream(plan.request)) as deltas:
                for delta in deltas:
                    yield from builder.feed(delta)
                    if builder.done:
                        break
        except ChatGLMError as error:
            builder.attach_partial(error)
            raise
        yield from builder.close()

    async def _asend(self, plan: RequestPlan, builder: AnswerBuilder) -> AsyncGenerator[ChatPiece, None]:
        try:
            client = self._runtime.aclient if plan.tape is None else plan.tape.awrap(self._runtime.aclient)
            async with aclosing(client.stream(plan.request)) as deltas:
                async for delta in deltas:
                    for piece in builder.feed(delta):
                        yield piece
                    if builder.done:
                        break
        except ChatGLMError as error:
            builder.attach_partial(error)
            raise
        for piece in builder.close():
            yield piece

    def _batch_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._sync()
        return dict(arguments)

    async def _send_directly(self, input: LanguageModelInput, arguments: dict[str, Any]) -> AIMessage:
        messages = self._convert_input(input).to_messages()
        return await self._afetch_message(messages, arguments.pop("stop", None), arguments)

    @property
    def _can_skip_langchain(self) -> bool:
        plain = self.rate_limiter is None and self.output_version in (None, "v0") and not self.streaming
        return plain and type(self)._agenerate is GLMChatModel._agenerate

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        self._sync()
        return {**super()._get_ls_params(stop=stop or self.stop, **kwargs), "ls_provider": "glm"}


def _result(message: AIMessage) -> ChatResult:
    reason = message.response_metadata.get("finish_reason")
    facts = None if reason is None else {"finish_reason": reason}
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=facts)])
