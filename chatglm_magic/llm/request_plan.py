"""Builds the request that is sent from a model's fields and a call's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import GenerationChunk
from langchain_core.prompt_values import PromptValue
from pydantic import PrivateAttr

from ..client.address import check_url, is_loopback
from ..client.request import Headers, Request, check_headers, encode_json
from ..credentials import find_secret_name
from ..errors import EndpointError, ParameterError
from ..parameters import PARAMETERS, wire_names
from ..values import Change, ChatOptions, ModelInput, Pair
from ..wire import Dialect, chatglm, dialect_of, openai
from ..wire.body import sanitize_line
from ..wire.chat import messages_to_prompt
from .fields import parse_timeout, refuse_object_fields
from .keys import Credentials, find_key
from .prompts import to_role_messages

if TYPE_CHECKING:
    from ..tape import Tape
    from .base import ModelFields

BODY_FIELDS = tuple(row.name for row in PARAMETERS.values() if row.in_body and row.per_call)
CALL_FIELDS = tuple(row.name for row in PARAMETERS.values() if row.per_call)
"""Fields that a call may set; any other argument except ``sample`` is a further key of the request's body."""

NOT_FURTHER_KEYS = (*CALL_FIELDS, "sample")


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request, complete before anything is sent; later changes of the model don't affect it.

    :param model_input: the prompt with its context and parameters.
    :param endpoint_url: the endpoint as the user wrote it.
    :param request: the encoded request.
    :param changed: how the request differs from what the caller requested.
    :param adds_to_history: whether the turn is added to the model's ``history``.
    :param usage: whether token counts are requested with the stream.
    :param tape: where the answer is recorded, or replayed from.
    :param arguments: the call's arguments besides ``stop``, as callbacks and tracers see them.
    """

    model_input: ModelInput
    endpoint_url: str
    request: Request
    changed: tuple[Change, ...]
    adds_to_history: bool
    usage: bool
    tape: Tape | None
    arguments: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        """The prompt; a :class:`~.prompts.MessagePrompt` if it was created from messages."""
        return self.model_input.prompt

    @property
    def dialect(self) -> Dialect:
        """The protocol."""
        return self.request.dialect

    @property
    def stop(self) -> tuple[str, ...]:
        """The stop sequences."""
        return self.request.stop

    @property
    def sent(self) -> dict[str, Any]:
        """The request's body without the conversation."""
        return {k: v for k, v in self.request.body.items() if k not in ("prompt", "history", "messages")}

    def with_sample(self, sample: int) -> RequestPlan:
        """Return the plan for another answer to the same request.

        :raises ParameterError: if ``sample`` isn't a whole number, 0 or more.
        """
        refuses_usage = self.request.url in self.request.urls_without_usage
        plan = self._encode(self.model_input) if self.usage and refuses_usage else self
        arguments = {**plan.arguments, "sample": sample}
        return replace(plan, request=replace(plan.request, sample=_check_sample(sample)), arguments=arguments)

    def with_changes(self, prompt: str | None = None, history: Sequence[Pair] | None = None) -> RequestPlan:
        """Return the plan of the same request with another prompt or another context."""
        model_input = self.model_input
        if prompt is not None:
            model_input = replace(model_input, prompt=prompt, messages=to_role_messages(prompt))
        arguments = self.arguments
        if history is not None:
            model_input = replace(model_input, history=tuple(history))
            arguments = {**arguments, "history": [list(pair) for pair in history]}
        return self if model_input == self.model_input else replace(self._encode(model_input), arguments=arguments)

    def _encode(self, model_input: ModelInput) -> RequestPlan:
        # The server may have refused it since this plan was made.
        usage = self.usage and self.request.url not in self.request.urls_without_usage
        body, changed = _encode(model_input, self.dialect, self.request.url, usage=usage)
        request = replace(self.request, body=body, data=encode_json(body))
        return replace(self, model_input=model_input, request=request, changed=changed, usage=usage)


class PlannedPrompt(str):
    """A prompt's text with the plan of its request and the last chunk of its answer.

    LangChain only passes text, both of the prompt and of the answer.
    """

    __slots__ = ("chunk", "plan")
    plan: RequestPlan
    chunk: GenerationChunk

    def __new__(cls, plan: RequestPlan) -> PlannedPrompt:
        self = super().__new__(cls, plan.prompt)
        self.plan = plan
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # a tracer's copy has no plan, and so no key


class PlannedPromptValue(PromptValue):
    """A prompt whose string form is a :class:`PlannedPrompt`."""

    _prompt: PlannedPrompt = PrivateAttr()

    @classmethod
    def of(cls, prompt: PlannedPrompt) -> PlannedPromptValue:
        """Return a value that LangChain converts back to the given prompt."""
        self = cls()
        self._prompt = prompt
        return self

    def to_string(self) -> str:
        return self._prompt

    def to_messages(self) -> list[BaseMessage]:
        return [HumanMessage(str(self._prompt))]


def plan_request(
    llm: ModelFields, prompt: str, stop: Sequence[str] | None, kwargs: Mapping[str, Any]
) -> RequestPlan:
    """Return the request for a model's current fields and a call's arguments.

    :raises ParameterError: for an invalid value, or one that can't be sent.
    :raises EndpointError: for an invalid or insecure endpoint.
    """
    return _plan(llm, _Content(prompt, to_role_messages(prompt)), stop, kwargs)


def plan_chat(
    llm: ModelFields,
    messages: Sequence[Mapping[str, Any]],
    chat: ChatOptions,
    stop: Sequence[str] | None,
    kwargs: Mapping[str, Any],
) -> RequestPlan:
    """As :func:`plan_request`, for a chat model.

    :param messages: in OpenAI's form, with thinking as ``reasoning_content``.
    :raises UnsupportedError: for what the protocol doesn't support.
    """
    return _plan(llm, _Content("", tuple(messages), chat), stop, kwargs)


class _Content(NamedTuple):
    """The content of a request: a prompt, or messages."""

    prompt: str
    messages: tuple[Mapping[str, Any], ...]
    chat: ChatOptions | None = None

    def to_model_input(
        self, dialect: Dialect, history: Sequence[Pair], params: dict[str, Any], extra: Any
    ) -> ModelInput:
        if self.chat is None or dialect == "openai":
            return ModelInput(self.prompt, tuple(history), params, self.messages, extra, self.chat)
        prompt, pairs, system = messages_to_prompt(self.messages, self.chat)
        system = "\n\n".join(text for text in (params.get("system"), system) if text)
        return ModelInput(prompt, pairs, params | ({"system": system} if system else {}), (), extra, self.chat)


def _plan(
    llm: ModelFields, content: _Content, stop: Sequence[str] | None, kwargs: Mapping[str, Any]
) -> RequestPlan:
    refuse_object_fields(kwargs)
    fields, were_set, credentials = llm.snapshot()
    arguments = {name: kwargs[name] for name in CALL_FIELDS if name in kwargs}
    arguments |= {"stop": stop} if stop is not None else {}
    history = fields.get("history")  # validated again, since it may have been changed in place
    arguments |= {"history": history} if history and "history" not in arguments else {}
    values = fields | llm.validate_arguments(arguments)
    stop = values["stop"] = tuple(values["stop"] or ())
    endpoint_url: str = values["endpoint_url"]
    dialect = _resolve_dialect(arguments, fields["dialect"], endpoint_url)
    further = {name: value for name, value in kwargs.items() if name not in NOT_FURTHER_KEYS}
    extra = {**(fields["model_kwargs"] or {}), **further}
    params = _resolve_parameters(values, arguments, were_set, extra, dialect)
    pairs = [(prompt, answer) for prompt, answer in values.get("history", ())]
    model_input = content.to_model_input(dialect, pairs, params, extra)
    url = (openai if dialect == "openai" else chatglm).url(check_url(endpoint_url))
    usage = fields["stream_usage"] and url not in llm._runtime.urls_without_usage
    body, changed = _encode(model_input, dialect, url, usage=usage)
    headers = _build_headers(endpoint_url, fields["endpoint_url"], credentials)
    _refuse_plain_http(url, headers, insecure=fields["insecure"])
    request = Request(
        url,
        dialect,
        body,
        encode_json(body),
        check_headers(headers),
        parse_timeout(values["timeout"]),
        values["max_retries"],
        llm._runtime.urls_without_usage,
        _check_sample(kwargs["sample"]) if "sample" in kwargs else 0,
        stop,
    )
    tape = llm._tape() if fields["tape"] is not None else None
    adds_to_history = values.get("with_history", False)
    return RequestPlan(model_input, endpoint_url, request, changed, adds_to_history, usage, tape, dict(kwargs))


def _resolve_dialect(arguments: Mapping[str, Any], configured: Dialect | None, endpoint_url: str) -> Dialect:
    if arguments.get("dialect"):
        return arguments["dialect"]  # type: ignore[no-any-return]
    if "endpoint_url" in arguments or configured is None:
        return dialect_of(endpoint_url)
    return configured


def _resolve_parameters(
    values: Mapping[str, Any],
    arguments: Mapping[str, Any],
    were_set: frozenset[str],
    extra: dict[str, Any],
    dialect: Dialect,
) -> dict[str, Any]:
    """Return the parameters to send; on ``/v1`` unset defaults aren't sent.

    Call arguments override ``model_kwargs``, which override fields, under any of a parameter's names. Overridden
    values are removed from ``extra``.
    """
    if keyed := find_secret_name(extra):
        raise ParameterError(
            f"{sanitize_line(keyed, 60)} looks like a key, and requests are saved with their answers: "
            "give a key as api_key=…, or in headers=…."
        )
    sent = {name for name in BODY_FIELDS if name in arguments or name in were_set or dialect == "chatglm"}
    for name, key in wire_names(dialect):
        if name in arguments and name != "stop":  # stop sequences are applied here, whatever the server gets
            extra.pop(key, None)
        elif key in extra:
            sent.discard(name)
    return {name: values[name] for name in BODY_FIELDS if name in sent}


def _encode(
    model_input: ModelInput, dialect: Dialect, url: str, *, usage: bool
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    if dialect == "openai":
        return openai.encode(model_input, server=openai.server_of(url), usage=usage)
    return chatglm.encode(model_input)


def _build_headers(endpoint_url: str, configured: str, credentials: Credentials) -> Headers:
    """Return the headers for a request's origin, including the key."""
    credentials = credentials.for_url(endpoint_url)
    headers = Headers({name: value.get_secret_value() for name, value in (credentials.headers or {}).items()})
    key = find_key(endpoint_url, configured, credentials.key)
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return headers


def _refuse_plain_http(url: str, headers: Headers, *, insecure: bool) -> None:
    """Refuse to send secrets to a remote host over unencrypted HTTP; any header may hold one.

    :raises EndpointError: ``insecure``.
    """
    if headers and urlsplit(url).scheme == "http" and not is_loopback(url) and not insecure:
        raise EndpointError(
            "A key, or a header that may hold one, would go to another machine over plain http, where it can be "
            "read on the way. Use an https:// address, or allow it with insecure=True "
            "(%chatglm_config insecure=true).",
            kind="insecure",
        )


def _check_sample(number: Any) -> int:
    """Validate the index of a sample.

    :raises ParameterError: if it isn't a whole number, 0 or more.
    """
    if type(number) is not int or number < 0:
        raise ParameterError("sample must be a whole number, 0 or more.")
    return number
