"""``ChatGLM``: a LangChain LLM with every field and default of ``langchain_community.llms.ChatGLM``."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, NoReturn

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun, Callbacks
from langchain_core.language_models import LLM, LanguageModelInput
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable

from ..client.loop import LOOP
from ..errors import ChatGLMError, ParameterError, UnsupportedError
from . import batch
from .base import STRICT_CONFIG, ChatGLMFields, ConfigurableChatGLM
from .chunks import ChunkBuilder, aemit, emit, merge_chunks, to_llm_result
from .fields import refuse_config_arguments
from .prompts import history_pairs, keep_messages
from .request_plan import PlannedPrompt, PlannedPromptValue, RequestPlan, plan_request
from .runtime import prepare_langchain
from .token_count import TokenCountMixin

if TYPE_CHECKING:
    from .chat_model import GLMChatModel

CHAT_MODEL_NEEDED = "takes text and returns text. Use a chat model: GLMChatModel(…), or llm.as_chat_model()."


class ChatGLM(batch.BatchMixin[str], TokenCountMixin, ChatGLMFields, LLM):  # type: ignore[misc]
    """A GLM model behind a URL, over ChatGLM's protocol or OpenAI's.

    .. code-block:: python

        llm = ChatGLM(endpoint_url="http://127.0.0.1:8000/", temperature=0.5)
        llm.invoke("北京和上海有什么不同？")

    A single request runs in the caller's thread; ``batch`` and its variants send up to ``max_concurrency``
    requests concurrently. With ``with_history`` each single request adds to the conversation; the requests of a
    batch include it, but don't add to it.

    :raises ChatGLMError: from every method that sends a request; with its ``kind`` and the ``partial`` answer.
    """

    model_config = STRICT_CONFIG

    if TYPE_CHECKING:  # without it, type checkers would only accept an api_key that is a SecretStr

        def __init__(self, **values: Any) -> None: ...

    @property
    def _llm_type(self) -> str:
        return "chat_glm"

    def plan(self, prompt: str, stop: list[str] | None = None, **kwargs: Any) -> RequestPlan:
        """Return the exact request that a prompt would send, without sending it.

        .. code-block:: python

            plan = llm.plan("Why is the sea blue?", temperature=0.5)
            plan.request.url, plan.sent, plan.changed
        """
        return plan_request(self, prompt, stop, kwargs)

    def stream_plan(self, plan: RequestPlan, config: RunnableConfig | None = None) -> Iterator[GenerationChunk]:
        """Send a planned request, unaffected by later changes of the model; yield chunks as they arrive.

        A chunk's ``generation_info`` has what isn't text: ``reasoning``, ``finish_reason``, ``usage``, ``model``,
        ``changed``, ``notice``, ``retries``, ``logprobs``, and ``thought`` if all text so far was thinking.
        Callbacks and tracers are called as by :meth:`stream`.

        :param plan: what :meth:`plan` returned; it can be sent several times.
        :param config: LangChain's configuration of the call.
        :raises ChatGLMError: as every method that sends a request.
        """
        if not batch.has_listeners(self, config):
            yield from self._send_with_history(plan)
            return
        prepare_langchain(self)
        prompt = PlannedPrompt(plan)
        stop = list(plan.stop) or None
        stream = super().stream(PlannedPromptValue.of(prompt), config, stop=stop, **plan.arguments)
        with closing(stream) as texts:  # type: ignore[type-var]
            for _ in texts:
                yield prompt.chunk

    async def astream_plan(
        self, plan: RequestPlan, config: RunnableConfig | None = None
    ) -> AsyncIterator[GenerationChunk]:
        """As :meth:`stream_plan`, asynchronously."""
        if not batch.has_listeners(self, config):
            async with aclosing(self._asend_with_history(plan)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        prepare_langchain(self)
        prompt = PlannedPrompt(plan)
        stop = list(plan.stop) or None
        stream = super().astream(PlannedPromptValue.of(prompt), config, stop=stop, **plan.arguments)
        async with aclosing(stream) as texts:  # type: ignore[type-var]
            async for _ in texts:
                yield prompt.chunk

    def __call__(
        self, prompt: str, stop: list[str] | None = None, callbacks: Callbacks = None, **kwargs: Any
    ) -> str:
        """Send a prompt and return the answer's text; deprecated, use :meth:`invoke`.

        :raises ParameterError: for a prompt that isn't a string.
        """
        warnings.warn("llm(prompt) is deprecated; use llm.invoke(prompt).", DeprecationWarning, stacklevel=2)
        if not isinstance(prompt, str):
            raise ParameterError(f"The prompt must be a string, not {type(prompt).__name__}. Use llm.generate.")
        return self.generate([prompt], stop=stop, callbacks=callbacks, **kwargs).generations[0][0].text

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[str]:
        """Send a prompt, and yield the answer's text as it arrives."""
        refuse_config_arguments(kwargs)  # before any callback is called
        prepare_langchain(self)
        return super().stream(input, config, stop=stop, **kwargs)

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[str]:
        """As :meth:`stream`, asynchronously."""
        refuse_config_arguments(kwargs)
        prepare_langchain(self)
        return super().astream(input, config, stop=stop, **kwargs)

    def generate(
        self, prompts: list[str], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """Send one prompt in this thread, or several concurrently."""
        prepare_langchain(self)
        with self._identify_call(prompts, kwargs):
            result = super().generate(prompts, self.stop if stop is None else stop, callbacks, **kwargs)
        self._add_single_to_history(prompts, result, kwargs)
        return result

    async def agenerate(
        self, prompts: list[str], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """Send one prompt, or several concurrently."""
        if isinstance(prompts, str):
            raise ParameterError("prompts must be a list of prompts; for a single one there is ainvoke.")
        prepare_langchain(self)
        with self._identify_call(prompts, kwargs):
            result = await super().agenerate(prompts, self.stop if stop is None else stop, callbacks, **kwargs)
        self._add_single_to_history(prompts, result, kwargs)
        return result

    def configurable_fields(self, **kwargs: Any) -> RunnableSerializable[LanguageModelInput, str]:
        """Let a call's configuration set fields; unset fields stay unset."""
        super().configurable_fields(**kwargs)  # raises for an unknown field
        return ConfigurableChatGLM(default=self, fields=kwargs)

    def as_chat_model(self) -> GLMChatModel:
        """Return the chat model with the same settings, key and connections: messages, tools, structured output.

        .. code-block:: python

            model = ChatGLM(endpoint_url="http://127.0.0.1:8000/v1", temperature=0).as_chat_model()
        """
        from .chat_model import GLMChatModel

        return GLMChatModel.from_llm(self)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> NoReturn:
        """Refuse, since a text model has no messages for tool calls.

        :raises UnsupportedError: always.
        """
        raise UnsupportedError(f"ChatGLM can't call tools: it {CHAT_MODEL_NEEDED}")

    def with_structured_output(self, schema: Any, **kwargs: Any) -> NoReturn:
        """Refuse, since a text model returns text.

        :raises UnsupportedError: always.
        """
        way = "If the server supports JSON output, pass model_kwargs={'response_format': …}."
        raise UnsupportedError(f"ChatGLM has no structured output: it {CHAT_MODEL_NEEDED} {way}")

    def _batch_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        shared = ({"history": [list(pair) for pair in self.history]} if self.history else {}) | dict(arguments)
        return shared | ({"with_history": False} if shared.get("with_history", self.with_history) else {})

    async def _send_directly(self, input: LanguageModelInput, arguments: dict[str, Any]) -> str:
        prompt = self._convert_input(input).to_string()
        return (await self._afetch_answer(prompt, arguments.pop("stop", None), arguments)).text

    @property
    def _can_skip_langchain(self) -> bool:
        return type(self)._agenerate is ChatGLM._agenerate

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        if isinstance(model_input, PlannedPromptValue):
            return model_input
        return keep_messages(super()._convert_input(model_input))

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        return self._fetch_answer(prompt, stop, kwargs).text

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        if len(prompts) > 1:
            return LOOP.run(self._agenerate(prompts, stop, **kwargs))
        return to_llm_result([self._fetch_answer(prompt, stop, kwargs) for prompt in prompts])

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        if len(prompts) == 1:
            return to_llm_result([await self._afetch_answer(prompts[0], stop, kwargs)])

        async def ask(index: int) -> Generation:
            return await self._afetch_answer(prompts[index], stop, kwargs)

        answers = batch.as_completed(ask, len(prompts), self.max_concurrency, keep_errors=False)
        async with aclosing(answers):
            return to_llm_result(await batch.collect_in_order(answers, len(prompts)))

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        planned = self._plan_prompt(prompt, stop, kwargs)
        with closing(self._send_with_history(planned.plan)) as chunks:
            for chunk in chunks:
                planned.chunk = chunk
                yield emit(chunk, run_manager)

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        planned = self._plan_prompt(prompt, stop, kwargs)
        async with aclosing(self._asend_with_history(planned.plan)) as chunks:
            async for chunk in chunks:
                planned.chunk = chunk
                yield await aemit(chunk, run_manager)

    def _plan_prompt(self, prompt: str, stop: list[str] | None, kwargs: dict[str, Any]) -> PlannedPrompt:
        """Return a prompt with its plan: the one given to :meth:`stream_plan`, or a new one."""
        if isinstance(prompt, PlannedPrompt):
            return prompt
        return PlannedPrompt(self.plan(prompt, stop, **kwargs))

    def _fetch_answer(self, prompt: str, stop: list[str] | None, kwargs: dict[str, Any]) -> Generation:
        plan = self.plan(prompt, stop, **kwargs)
        return merge_chunks(list(self._send(plan, ChunkBuilder.of(plan))))

    async def _afetch_answer(self, prompt: str, stop: list[str] | None, kwargs: dict[str, Any]) -> Generation:
        plan = self.plan(prompt, stop, **kwargs)
        async with aclosing(self._asend(plan, ChunkBuilder.of(plan))) as chunks:
            return merge_chunks([chunk async for chunk in chunks])

    def _send_with_history(self, plan: RequestPlan) -> Generator[GenerationChunk, None, None]:
        """Send a request, and add the turn to ``history`` if the plan says so."""
        builder = ChunkBuilder.of(plan)
        yield from self._send(plan, builder)
        self._add_to_history(plan.adds_to_history, plan.prompt, builder.text)

    async def _asend_with_history(self, plan: RequestPlan) -> AsyncGenerator[GenerationChunk, None]:
        builder = ChunkBuilder.of(plan)
        async with aclosing(self._asend(plan, builder)) as chunks:
            async for chunk in chunks:
                yield chunk
        self._add_to_history(plan.adds_to_history, plan.prompt, builder.text)

    def _send(self, plan: RequestPlan, builder: ChunkBuilder) -> Generator[GenerationChunk, None, None]:
        try:
            client = self._runtime.client if plan.tape is None else plan.tape.wrap(self._runtime.client)
            with closing(client.stream(plan.request)) as deltas:
                for delta in deltas:
                    if chunk := builder.feed(delta):
                        yield chunk
                    if builder.done:
                        break
        except ChatGLMError as error:
            builder.attach_partial(error)
            raise
        yield builder.close()

    async def _asend(self, plan: RequestPlan, builder: ChunkBuilder) -> AsyncGenerator[GenerationChunk, None]:
        try:
            client = self._runtime.aclient if plan.tape is None else plan.tape.awrap(self._runtime.aclient)
            async with aclosing(client.stream(plan.request)) as deltas:
                async for delta in deltas:
                    if chunk := builder.feed(delta):
                        yield chunk
                    if builder.done:
                        break
        except ChatGLMError as error:
            builder.attach_partial(error)
            raise
        yield builder.close()

    def _add_single_to_history(self, prompts: list[str], result: LLMResult, kwargs: dict[str, Any]) -> None:
        if len(prompts) == 1:
            self._add_to_history(
                kwargs.get("with_history", self.with_history), prompts[0], result.generations[0][0].text
            )

    def _add_to_history(self, enabled: bool, prompt: str, answer: str) -> None:
        if enabled:
            with self._runtime.lock:
                self.history = [*self.history, *history_pairs(prompt, answer)]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        result = super()._get_ls_params(stop=stop, **kwargs)
        if self.max_token is not None:
            result.setdefault("ls_max_tokens", self.max_token)
        return result
