"""From a ``ChatGLM``'s fields and a call's arguments to the one request that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import GenerationChunk
from langchain_core.prompt_values import PromptValue
from pydantic import PrivateAttr

from ..client.address import checked_url, is_loopback
from ..client.request import Call, Headers, checked_headers, encoded
from ..credentials import find_secret_name
from ..errors import EndpointError, ParameterError
from ..parameters import PARAMETERS, wire_names
from ..values import Change, ChatOptions, Pair, Question
from ..wire import Dialect, chatglm, dialect_of, openai
from ..wire.body import sanitize_line
from ..wire.chat import messages_to_prompt
from .fields import parse_timeout, refuse_object_fields
from .keys import Credentials, key_for
from .prompts import with_roles

if TYPE_CHECKING:
    from ..tape import Tape
    from .base import ModelFields

IN_BODY = tuple(row.name for row in PARAMETERS.values() if row.in_body and row.per_call)
CALL_FIELDS = tuple(row.name for row in PARAMETERS.values() if row.per_call)
"""Fields that a call may set for itself; any other argument, but ``sample``, is a key of the request's body."""

NOT_FURTHER = (*CALL_FIELDS, "sample")


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request, settled before anything is sent; later changes of the model don't touch it.

    :param question: the prompt with its context and parameters.
    :param endpoint_url: where it goes, as the user wrote it.
    :param call: the encoded request.
    :param changed: what had to be changed of what was asked for.
    :param remember: whether the exchange is added to the model's ``history``.
    :param usage: whether a stream is asked for its token counts.
    :param tape: where the answer is recorded, or taken from.
    :param arguments: what the caller set besides ``stop``, as callbacks and tracers see it.
    """

    question: Question
    endpoint_url: str
    call: Call
    changed: tuple[Change, ...]
    remember: bool
    usage: bool
    tape: Tape | None
    arguments: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        """The prompt; with its messages, if it was made of some."""
        return self.question.prompt

    @property
    def dialect(self) -> Dialect:
        """The protocol."""
        return self.call.dialect

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        return self.call.stop

    @property
    def sent(self) -> dict[str, Any]:
        """What goes over the wire besides the conversation."""
        return {k: v for k, v in self.call.body.items() if k not in ("prompt", "history", "messages")}

    def with_sample(self, sample: int) -> RequestPlan:
        """Return the plan of another answer to the same request.

        :raises ParameterError: for anything but a whole number, 0 or more.
        """
        plan = self._encoded(self.question) if self.usage and self.call.url in self.call.no_usage else self
        arguments = {**plan.arguments, "sample": sample}
        return replace(plan, call=replace(plan.call, sample=_sample(sample)), arguments=arguments)

    def with_question(self, prompt: str | None = None, history: Sequence[Pair] | None = None) -> RequestPlan:
        """Return the plan of the same request with another prompt, or another context."""
        question = self.question
        if prompt is not None:
            question = replace(question, prompt=prompt, messages=with_roles(prompt))
        arguments = self.arguments
        if history is not None:
            question = replace(question, history=tuple(history))
            arguments = {**arguments, "history": [list(pair) for pair in history]}
        return self if question == self.question else replace(self._encoded(question), arguments=arguments)

    def _encoded(self, question: Question) -> RequestPlan:
        usage = self.usage and self.call.url not in self.call.no_usage  # a server may have refused it since
        body, changed = _encode(question, self.dialect, self.call.url, usage=usage)
        call = replace(self.call, body=body, data=encoded(body))
        return replace(self, question=question, call=call, changed=changed, usage=usage)


class PlannedPrompt(str):
    """A prompt's text with the plan of its request, on its way through LangChain, and the chunk that came last.

    LangChain hands on text alone, of a prompt as of an answer.
    """

    __slots__ = ("chunk", "plan")
    plan: RequestPlan
    chunk: GenerationChunk

    def __new__(cls, plan: RequestPlan) -> PlannedPrompt:
        self = super().__new__(cls, plan.prompt)
        self.plan = plan
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # a tracer's copy knows no plan, and with it no key


class PlannedPromptValue(PromptValue):
    """A prompt whose string form is a :class:`PlannedPrompt`."""

    _prompt: PlannedPrompt = PrivateAttr()

    @classmethod
    def of(cls, prompt: PlannedPrompt) -> PlannedPromptValue:
        """Return the value that LangChain converts to this very prompt."""
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
    """Return the request that a model would send, of its fields as they are now and a call's arguments.

    :raises ParameterError: for a value that a field would refuse, or that can't be sent.
    :raises EndpointError: for an address that nothing can be sent to.
    """
    return _plan(llm, _Words(prompt, with_roles(prompt)), stop, kwargs)


def plan_chat(
    llm: ModelFields,
    messages: Sequence[Mapping[str, Any]],
    chat: ChatOptions,
    stop: Sequence[str] | None,
    kwargs: Mapping[str, Any],
) -> RequestPlan:
    """As :func:`plan_request`, for a chat model.

    :param messages: in OpenAI's form, with ``reasoning_content`` wherever there was thinking.
    :raises UnsupportedError: for what the protocol has no words for.
    """
    return _plan(llm, _Words("", tuple(messages), chat), stop, kwargs)


class _Words(NamedTuple):
    """What a request says: a prompt, or messages."""

    prompt: str
    messages: tuple[Mapping[str, Any], ...]
    chat: ChatOptions | None = None

    def question(self, dialect: Dialect, history: Sequence[Pair], params: dict[str, Any], extra: Any) -> Question:
        if self.chat is None or dialect == "openai":
            return Question(self.prompt, tuple(history), params, self.messages, extra, self.chat)
        prompt, pairs, system = messages_to_prompt(self.messages, self.chat)
        system = "\n\n".join(text for text in (params.get("system"), system) if text)
        return Question(prompt, pairs, params | ({"system": system} if system else {}), (), extra, self.chat)


def _plan(llm: ModelFields, words: _Words, stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> RequestPlan:
    refuse_object_fields(kwargs)
    fields, were_set, credentials = llm.snapshot()
    own = {name: kwargs[name] for name in CALL_FIELDS if name in kwargs}
    own |= {"stop": stop} if stop is not None else {}
    past = fields.get("history")
    own |= {"history": past} if past and "history" not in own else {}  # changed in place
    values = fields | llm.checked(own)
    stop = values["stop"] = tuple(values["stop"] or ())
    endpoint_url: str = values["endpoint_url"]
    dialect = _dialect(own, fields["dialect"], endpoint_url)
    further = {name: value for name, value in kwargs.items() if name not in NOT_FURTHER}
    extra = {**(fields["model_kwargs"] or {}), **further}
    params = _params(values, own, were_set, extra, dialect)
    history = [(asked, answered) for asked, answered in values.get("history", ())]
    question = words.question(dialect, history, params, extra)
    url = (openai if dialect == "openai" else chatglm).url(checked_url(endpoint_url))
    usage = fields["stream_usage"] and url not in llm._runtime.no_usage
    body, changed = _encode(question, dialect, url, usage=usage)
    headers = _headers(endpoint_url, fields["endpoint_url"], credentials)
    _guard(url, headers, insecure=fields["insecure"])
    call = Call(
        url,
        dialect,
        body,
        encoded(body),
        checked_headers(headers),
        parse_timeout(values["timeout"]),
        values["max_retries"],
        llm._runtime.no_usage,
        _sample(kwargs["sample"]) if "sample" in kwargs else 0,
        stop,
    )
    tape = llm._tape() if fields["tape"] is not None else None
    remember = values.get("with_history", False)
    return RequestPlan(question, endpoint_url, call, changed, remember, usage, tape, dict(kwargs))


def _dialect(own: Mapping[str, Any], configured: Dialect | None, endpoint_url: str) -> Dialect:
    if own.get("dialect"):
        return own["dialect"]  # type: ignore[no-any-return]
    if "endpoint_url" in own or configured is None:
        return dialect_of(endpoint_url)
    return configured


def _params(
    values: Mapping[str, Any],
    own: Mapping[str, Any],
    were_set: frozenset[str],
    extra: dict[str, Any],
    dialect: Dialect,
) -> dict[str, Any]:
    """Return the parameters to send: on ``/v1`` an untouched default isn't sent.

    Call arguments override ``model_kwargs``, which override fields, whichever of its names a parameter has; what
    is overridden is taken out of ``extra``.
    """
    if keyed := find_secret_name(extra):
        raise ParameterError(
            f"{sanitize_line(keyed, 60)} looks like a key, and what is asked is kept with its answer: "
            "give a key as api_key=…, or in headers=…."
        )
    sent = {name for name in IN_BODY if name in own or name in were_set or dialect == "chatglm"}
    for name, key in wire_names(dialect):
        if name in own and name != "stop":  # whose texts are applied here, whatever the server is told
            extra.pop(key, None)
        elif key in extra:
            sent.discard(name)
    return {name: values[name] for name in IN_BODY if name in sent}


def _encode(
    question: Question, dialect: Dialect, url: str, *, usage: bool
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    if dialect == "openai":
        return openai.encode(question, server=openai.server_of(url), usage=usage)
    return chatglm.encode(question)


def _headers(endpoint_url: str, configured: str, credentials: Credentials) -> Headers:
    """Return the headers that go to a request's origin, the key among them."""
    ours = credentials.for_url(endpoint_url)
    headers = Headers({name: value.get_secret_value() for name, value in (ours.headers or {}).items()})
    key = key_for(endpoint_url, configured, ours.key)
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return headers


def _guard(url: str, headers: Headers, *, insecure: bool) -> None:
    """Keep a secret from being sent where everyone on the way can read it: any header that was given may be one.

    :raises EndpointError: ``insecure``.
    """
    if headers and urlsplit(url).scheme == "http" and not is_loopback(url) and not insecure:
        raise EndpointError(
            "A key, or a header that may hold one, would go to another machine over plain http, where it can be "
            "read on the way. Use an https:// address, or allow it with insecure=True "
            "(%chatglm_config insecure=true).",
            kind="insecure",
        )


def _sample(number: Any) -> int:
    """Return which of several answers to one question is wanted.

    :raises ParameterError: for anything but a whole number, 0 or more.
    """
    if type(number) is not int or number < 0:
        raise ParameterError("sample must be a whole number, 0 or more.")
    return number
