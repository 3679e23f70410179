"""Structured output: request an object of a schema, parse it and validate it."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass
from typing_extensions import is_typeddict

from ..errors import InvalidResponseError, ParameterError
from ..strictjson import strict_json
from ..wire.body import sanitize_line
from ..wire.json_schema import iter_problems

Method = Literal["json_schema", "function_calling", "json_mode"]

METHODS = get_args(Method)
MAX_PROBLEMS = 5
"""How many schema violations an error names."""


def parse_response_format(form: Any) -> tuple[bool, Mapping[str, Any], str, bool | None]:
    """Return whether OpenAI's ``response_format`` requires JSON, and its schema, name and strictness.

    :raises ParameterError: for an invalid format.
    """
    if form is None or (isinstance(form, Mapping) and form.get("type") == "text"):
        return False, {}, "answer", None
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind == "json_object":
        return True, form.get("schema") or {}, "answer", None
    named = form.get("json_schema") if kind == "json_schema" else None
    if not isinstance(named, Mapping) or not isinstance(named.get("schema"), Mapping):
        raise ParameterError(
            "response_format must be {'type': 'text'}, {'type': 'json_object'}, or "
            "{'type': 'json_schema', 'json_schema': {'name': …, 'schema': {…}}}."
        )
    return True, named["schema"], str(named.get("name") or "answer"), named.get("strict")


def structured_runnable(
    model: BaseChatModel,
    schema: Any,
    method: Method,
    *,
    include_raw: bool,
    strict: bool | None,
    retries: int,
    arguments: Mapping[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """Return the runnable of :meth:`GLMChatModel.with_structured_output`.

    :raises ParameterError: for an unknown method or an invalid argument.
    """
    if method not in METHODS:
        raise ParameterError(f"method must be {', '.join(METHODS)}, not {method!r}.")
    if type(retries) is not int or retries < 0:
        raise ParameterError("retries must be a whole number, 0 or more.")
    try:
        as_schema = _allow_nulls(convert_to_json_schema(schema), schema)
    except Exception as error:  # noqa: BLE001 - LangChain raises what it likes
        reason = " ".join(str(error).split())
        words = sanitize_line(reason, 200)
        message = f"The schema can't be read: {words}. It may be a class, a TypedDict or a JSON schema."
        raise ParameterError(message) from None
    langsmith_format = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    tool = ""
    if method == "function_calling":
        tool = convert_to_openai_tool(schema)["function"]["name"]
        bound = model.bind_tools(
            [schema], tool_choice=tool, strict=strict, ls_structured_output_format=langsmith_format, **arguments
        )
    else:
        named = {"name": as_schema.get("title", "answer"), "schema": as_schema, "strict": strict}
        response_format = {"type": "json_schema", "json_schema": {k: v for k, v in named.items() if v is not None}}
        if method == "json_mode":
            response_format = {"type": "json_object"}
        bound = model.bind(
            response_format=response_format, ls_structured_output_format=langsmith_format, **arguments
        )
    reader = _Reader(schema, as_schema, tool)
    return _StructuredOutput(bound, reader, include_raw=include_raw, retries=retries).runnable()


class _Reader(NamedTuple):
    """Reads an object of a schema from a message.

    :param tool: the tool whose arguments are the object; empty if it is the text.
    """

    schema: Any
    as_schema: Mapping[str, Any]
    tool: str

    @property
    def makes_instances(self) -> bool:
        """Whether the values are instances of a pydantic class, which can't be partial."""
        return isinstance(self.schema, type) and is_basemodel_subclass(self.schema)

    def text_of(self, message: AIMessage) -> str:
        """Return the text that should be the object."""
        if not self.tool:
            return message.text
        for call in message.tool_calls:
            if call["name"] == self.tool:
                return json.dumps(call["args"], ensure_ascii=False)
        for invalid in message.invalid_tool_calls:
            return invalid["args"] or ""
        return message.text

    def read(self, message: AIMessage) -> Any:
        """Return the validated object.

        :raises InvalidResponseError: ``schema``, with the text.
        """
        text = self.text_of(message)
        try:
            value = strict_json(_strip_fence(text))
        except (ValueError, RecursionError):
            raise self._error(f"isn't JSON: {sanitize_line(text, 200)}", message, text) from None
        if not isinstance(value, dict):
            raise self._error(f"isn't a JSON object: {sanitize_line(text, 200)}", message, text)
        if not self.makes_instances:
            violations = list(itertools.islice(iter_problems(value, self.as_schema), MAX_PROBLEMS))
            if violations:
                raise self._error(f"doesn't fit its schema: {'; '.join(violations)}", message, text)
            return value
        try:
            validate = getattr(self.schema, "model_validate", None) or self.schema.parse_obj
            return validate(value)
        except ValueError as error:  # pydantic's, version 1 or 2
            items = error.errors()[:MAX_PROBLEMS]  # type: ignore[attr-defined]
            violations = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in items]
        raise self._error(f"doesn't fit its schema: {'; '.join(violations)}", message, text)

    def _error(self, problem: str, message: AIMessage, text: str) -> InvalidResponseError:
        cut = (
            " It was cut off: raise max_tokens."
            if message.response_metadata.get("finish_reason") == "length"
            else ""
        )
        return InvalidResponseError(f"The answer {problem}.{cut}", kind="schema", partial=text)


class _StructuredOutput:
    """Sends a request, validates the answer, and retries if it is invalid."""

    def __init__(self, model: Runnable[Any, Any], reader: _Reader, *, include_raw: bool, retries: int) -> None:
        self._model, self._reader, self._include_raw, self._retries = model, reader, include_raw, retries

    def runnable(self) -> Runnable[LanguageModelInput, Any]:
        """Return it as a LangChain runnable."""
        from langchain_core.runnables import RunnableGenerator

        if self._include_raw or self._retries or self._reader.makes_instances:
            return RunnableLambda(self._invoke, afunc=self._ainvoke, name="StructuredOutput")
        read = RunnableGenerator(self._transform, self._atransform, name="StructuredOutput")
        return self._model | read

    def _invoke(self, input: Any, config: RunnableConfig) -> Any:
        message = self._model.invoke(input, config)
        for _ in range(self._retries):
            if (error := self._find_error(message)) is None:
                break
            message = self._model.invoke(self._retry_messages(input, message, error), config)
        return self._result(message)

    async def _ainvoke(self, input: Any, config: RunnableConfig) -> Any:
        message = await self._model.ainvoke(input, config)
        for _ in range(self._retries):
            if (error := self._find_error(message)) is None:
                break
            message = await self._model.ainvoke(self._retry_messages(input, message, error), config)
        return self._result(message)

    def _find_error(self, message: AIMessage) -> InvalidResponseError | None:
        try:
            self._reader.read(message)
        except InvalidResponseError as error:
            return error
        return None

    def _retry_messages(self, input: Any, message: AIMessage, error: InvalidResponseError) -> list[BaseMessage]:
        bound: Any = self._model
        messages = bound.bound._convert_input(input).to_messages()
        answer = AIMessage(self._reader.text_of(message))
        return [*messages, answer, HumanMessage(f"{error} Answer again, with the object alone.")]

    def _result(self, message: AIMessage) -> Any:
        if not self._include_raw:
            return self._reader.read(message)
        error = self._find_error(message)
        return {
            "raw": message,
            "parsed": self._reader.read(message) if error is None else None,
            "parsing_error": error,
        }

    def _transform(self, chunks: Iterator[AIMessageChunk]) -> Iterator[Any]:
        """Yield the object as it grows; the last one is complete and valid, or an error is raised."""
        partial = _PartialObject(self._reader)
        for chunk in chunks:
            yield from partial.add(chunk)
        yield from partial.finish()

    async def _atransform(self, chunks: AsyncIterator[AIMessageChunk]) -> AsyncIterator[Any]:
        partial = _PartialObject(self._reader)
        async for chunk in chunks:
            for value in partial.add(chunk):
                yield value
        for value in partial.finish():
            yield value


class _PartialObject:
    """The object of a streamed answer, parsed again after each chunk."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._message: Any = None
        self._last: Any = None

    def add(self, chunk: AIMessageChunk) -> Iterator[Any]:
        """Yield the object if the chunk changed it."""
        self._message = chunk if self._message is None else self._message + chunk
        value = self._parse()
        if value is not None and value != self._last:
            self._last = value
            yield value

    def finish(self) -> Iterator[Any]:
        """Yield the complete object, if it isn't the one last yielded.

        :raises InvalidResponseError: ``schema``, for an answer that doesn't fit.
        """
        final = self._reader.read(self._message)
        if final != self._last:
            yield final

    def _parse(self) -> Any:
        if self._reader.tool:
            return next((call["args"] for call in self._message.tool_calls), None)
        try:
            value = parse_partial_json(_strip_fence(self._message.text))
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


def _allow_nulls(as_schema: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Return a TypedDict's schema with its optional keys nullable and not required.

    LangChain converts them to required keys that can't be null.
    """
    if not is_typeddict(schema):
        return as_schema
    hints = get_type_hints(schema)
    optional = {name for name, hint in hints.items() if type(None) in get_args(hint)}
    properties = as_schema.get("properties", {})
    nulls = {name: {"anyOf": [properties[name], {"type": "null"}]} for name in optional if name in properties}
    required = [name for name in as_schema.get("required", ()) if name not in optional]
    return as_schema | {"properties": properties | nulls, "required": required}


def _strip_fence(text: str) -> str:
    """Remove the code fence that some models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text
