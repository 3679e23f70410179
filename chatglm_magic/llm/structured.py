"""Answers that are objects of a schema: asked for, read and checked."""

from __future__ import annotations

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
SHOWN = 5
"""How many things that don't fit are named."""


def read_format(form: Any) -> tuple[bool, Mapping[str, Any], str, bool | None]:
    """Return whether JSON is asked for, and its schema, name and strictness, of OpenAI's ``response_format``.

    :raises ParameterError: for another form.
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


def output(
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

    :raises ParameterError: for a method or an argument that there is not.
    """
    if method not in METHODS:
        raise ParameterError(f"method must be {', '.join(METHODS)}, not {method!r}.")
    if type(retries) is not int or retries < 0:
        raise ParameterError("retries must be a whole number, 0 or more.")
    try:
        as_schema = _with_nulls(convert_to_json_schema(schema), schema)
    except Exception as error:  # noqa: BLE001 - LangChain raises what it likes
        reason = " ".join(str(error).split())
        words = sanitize_line(reason, 200)
        message = f"The schema can't be read: {words}. It may be a class, a TypedDict or a JSON schema."
        raise ParameterError(message) from None
    told = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    tool = ""
    if method == "function_calling":
        tool = convert_to_openai_tool(schema)["function"]["name"]
        bound = model.bind_tools(
            [schema], tool_choice=tool, strict=strict, ls_structured_output_format=told, **arguments
        )
    else:
        named = {"name": as_schema.get("title", "answer"), "schema": as_schema, "strict": strict}
        form = {"type": "json_schema", "json_schema": {k: v for k, v in named.items() if v is not None}}
        if method == "json_mode":
            form = {"type": "json_object"}
        bound = model.bind(response_format=form, ls_structured_output_format=told, **arguments)
    reader = _Reader(schema, as_schema, tool)
    return _StructuredOutput(bound, reader, include_raw=include_raw, retries=retries).runnable()


class _Reader(NamedTuple):
    """Reads an object of a schema out of a message.

    :param tool: the tool whose arguments the object is; empty where it is the text.
    """

    schema: Any
    as_schema: Mapping[str, Any]
    tool: str

    @property
    def makes_objects(self) -> bool:
        """Whether the values are objects of a class, which exist whole or not at all."""
        return isinstance(self.schema, type) and is_basemodel_subclass(self.schema)

    def text_of(self, message: AIMessage) -> str:
        """Return the text that is meant to be the object."""
        if not self.tool:
            return message.text
        for call in message.tool_calls:
            if call["name"] == self.tool:
                return json.dumps(call["args"], ensure_ascii=False)
        for invalid in message.invalid_tool_calls:
            return invalid["args"] or ""
        return message.text

    def read(self, message: AIMessage) -> Any:
        """Return the object.

        :raises InvalidResponseError: ``schema``, with the text.
        """
        text = self.text_of(message)
        try:
            value = strict_json(_unfenced(text))
        except (ValueError, RecursionError):
            raise self._wrong("isn't JSON", message, text) from None
        if not isinstance(value, dict):
            raise self._wrong("isn't a JSON object", message, text)
        if not self.makes_objects:
            wrong = [found for _, found in zip(range(SHOWN), iter_problems(value, self.as_schema), strict=False)]
            if wrong:
                raise self._wrong(f"doesn't fit its schema: {'; '.join(wrong)}", message, text)
            return value
        try:
            validate = getattr(self.schema, "model_validate", None) or self.schema.parse_obj
            return validate(value)
        except ValueError as error:  # pydantic's own, of either version
            wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:SHOWN]]  # type: ignore[attr-defined]
        raise self._wrong(f"doesn't fit its schema: {'; '.join(wrong)}", message, text)

    def _wrong(self, what: str, message: AIMessage, text: str) -> InvalidResponseError:
        cut = (
            " It was cut off: raise max_tokens."
            if message.response_metadata.get("finish_reason") == "length"
            else ""
        )
        said = (
            f"The answer {what}: {sanitize_line(text, 200)}."
            if what.startswith("isn't")
            else f"The answer {what}."
        )
        return InvalidResponseError(f"{said}{cut}", kind="schema", partial=text)


class _StructuredOutput:
    """Asks, reads, and asks again for what doesn't fit."""

    def __init__(self, model: Runnable[Any, Any], reader: _Reader, *, include_raw: bool, retries: int) -> None:
        self._model, self._reader, self._raw, self._retries = model, reader, include_raw, retries

    def runnable(self) -> Runnable[LanguageModelInput, Any]:
        """Return it as one of LangChain's: ``invoke``, ``stream`` and their kin."""
        from langchain_core.runnables import RunnableGenerator

        if self._raw or self._retries or self._reader.makes_objects:
            return RunnableLambda(self._invoke, afunc=self._ainvoke, name="StructuredOutput")
        read = RunnableGenerator(self._transform, self._atransform, name="StructuredOutput")
        return self._model | read

    def _invoke(self, input: Any, config: RunnableConfig) -> Any:
        message = self._model.invoke(input, config)
        for _ in range(self._retries):
            if (wrong := self._wrong(message)) is None:
                break
            message = self._model.invoke(self._again(input, message, wrong), config)
        return self._result(message)

    async def _ainvoke(self, input: Any, config: RunnableConfig) -> Any:
        message = await self._model.ainvoke(input, config)
        for _ in range(self._retries):
            if (wrong := self._wrong(message)) is None:
                break
            message = await self._model.ainvoke(self._again(input, message, wrong), config)
        return self._result(message)

    def _wrong(self, message: AIMessage) -> InvalidResponseError | None:
        try:
            self._reader.read(message)
        except InvalidResponseError as error:
            return error
        return None

    def _again(self, input: Any, message: AIMessage, wrong: InvalidResponseError) -> list[BaseMessage]:
        bound: Any = self._model
        asked = bound.bound._convert_input(input).to_messages()
        said = AIMessage(self._reader.text_of(message))
        return [*asked, said, HumanMessage(f"{wrong} Answer again, with the object alone.")]

    def _result(self, message: AIMessage) -> Any:
        if not self._raw:
            return self._reader.read(message)
        wrong = self._wrong(message)
        return {
            "raw": message,
            "parsed": self._reader.read(message) if wrong is None else None,
            "parsing_error": wrong,
        }

    def _transform(self, chunks: Iterator[AIMessageChunk]) -> Iterator[Any]:
        """Yield the object as it grows; the last one is whole and fits, or an error is raised."""
        growing = _GrowingObject(self._reader)
        for chunk in chunks:
            yield from growing.add(chunk)
        yield from growing.end()

    async def _atransform(self, chunks: AsyncIterator[AIMessageChunk]) -> AsyncIterator[Any]:
        growing = _GrowingObject(self._reader)
        async for chunk in chunks:
            for value in growing.add(chunk):
                yield value
        for value in growing.end():
            yield value


class _GrowingObject:
    """Reads the object of a streamed answer, each time that it has grown."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._whole: Any = None
        self._last: Any = None

    def add(self, chunk: AIMessageChunk) -> Iterator[Any]:
        """Yield the object if the chunk changed it."""
        self._whole = chunk if self._whole is None else self._whole + chunk
        value = self._partial()
        if value is not None and value != self._last:
            self._last = value
            yield value

    def end(self) -> Iterator[Any]:
        """Yield the whole object, if it isn't the one last seen.

        :raises InvalidResponseError: ``schema``, for an answer that doesn't fit.
        """
        final = self._reader.read(self._whole)
        if final != self._last:
            yield final

    def _partial(self) -> Any:
        if self._reader.tool:
            return next((call["args"] for call in self._whole.tool_calls), None)
        try:
            value = parse_partial_json(_unfenced(self._whole.text))
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


def _with_nulls(as_schema: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Return a TypedDict's schema in which its optional keys may be null, or left out.

    LangChain's conversion makes required ones of them, without null.
    """
    if not is_typeddict(schema):
        return as_schema
    hints = get_type_hints(schema)
    optional = {name for name, hint in hints.items() if type(None) in get_args(hint)}
    properties = as_schema.get("properties", {})
    nulls = {name: {"anyOf": [properties[name], {"type": "null"}]} for name in optional if name in properties}
    required = [name for name in as_schema.get("required", ()) if name not in optional]
    return as_schema | {"properties": properties | nulls, "required": required}


def _unfenced(text: str) -> str:
    """Return a text without the code fence that some models put round JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text
