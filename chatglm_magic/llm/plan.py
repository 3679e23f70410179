"""From a ``ChatGLM``'s fields and a call's arguments to the one request that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..client.address import checked_url, is_loopback
from ..client.call import Call, Headers, checked_headers, encoded
from ..client.limits import Limits
from ..credentials import key_within
from ..errors import EndpointError, ParameterError
from ..parameters import LANGCHAIN_CONFIG, PARAMETERS, wire_names
from ..values import Pair, Question
from ..wire import Dialect, chatglm, dialect_of, openai
from ..wire.body import shown
from .fields import limits
from .keys import Credentials, key_for
from .spoken import with_roles

if TYPE_CHECKING:
    from .base import Fields

IN_BODY = tuple(row.name for row in PARAMETERS.values() if row.in_body and row.per_call)
CALL_FIELDS = tuple(row.name for row in PARAMETERS.values() if row.per_call)
"""Fields that a call may set for itself; any other argument, but ``sample``, is a key of the request's body."""

NOT_FURTHER = (*CALL_FIELDS, "sample")

OBJECT_FIELDS = tuple(row.name for row in PARAMETERS.values() if not row.per_call)
"""Fields that belong to the object alone; in a request's body they would be a mistake, or a leak."""

TAKEN = ("prompt", "prompts", "run_manager")
"""Names that mean something on the way already."""


def refuse_no_arguments(call: Mapping[str, Any]) -> None:
    """Refuse what is no argument of a call, or LangChain's own and part of its configuration.

    :raises ParameterError: which says where it goes.
    """
    refuse_object_fields(call)
    name = next((name for name in LANGCHAIN_CONFIG if name in call), None)
    if name is not None:
        raise ParameterError(f"{name} is no parameter of the model: give it as config={{{name!r}: …}}.")


def refuse_object_fields(call: Mapping[str, Any]) -> None:
    """Refuse what can't be set for one call.

    :raises ParameterError: for a field that belongs to the object alone.
    """
    name = next((name for name in (*OBJECT_FIELDS, *TAKEN) if name in call), None)
    if name in TAKEN:
        raise ParameterError(f"{name} is what is asked, no argument beside it.")
    if name is not None:
        raise ParameterError(f"{name} can't be set for one call: give it to ChatGLM(...), or assign it.")


class Plan:
    """One question's request, settled before anything is sent; later changes of the object don't touch it."""

    def __init__(self, llm: Fields, prompt: str, stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> None:
        refuse_object_fields(kwargs)
        own = {name: kwargs[name] for name in CALL_FIELDS if name in kwargs}
        own |= {"stop": stop} if stop is not None else {}
        own |= {"history": llm.history} if llm.history and "history" not in own else {}  # changed in place
        checked = llm.checked(own)
        self.prompt = prompt
        self.stop = tuple(checked.get("stop", llm.stop) or ())
        self.with_history: bool = checked.get("with_history", llm.with_history)
        self.history: list[Pair] = [(q, a) for q, a in checked.get("history", llm.history)]
        configured, credentials = llm.endpoint_url, llm._credentials  # once: another thread may change them
        self.endpoint_url: str = checked.get("endpoint_url", configured)
        self.dialect: Dialect = self._dialect(llm, checked)
        sample = _sample(kwargs["sample"]) if "sample" in kwargs else 0
        params, extra = self._params(llm, checked, {k: v for k, v in kwargs.items() if k not in NOT_FURTHER})
        question = Question(prompt, tuple(self.history), params, with_roles(prompt), extra)
        waiting = limits(checked.get("timeout", llm.timeout)), checked.get("max_retries", llm.max_retries)
        headers = self._headers(configured, credentials)
        self.call, self.changed = self._call(llm, question, headers, *waiting, sample)
        self.tape = llm._tape() if llm.tape is not None else None

    def _dialect(self, llm: Fields, own: Mapping[str, Any]) -> Dialect:
        if own.get("dialect"):
            return own["dialect"]  # type: ignore[no-any-return]
        if "endpoint_url" in own or llm.dialect is None:
            return dialect_of(self.endpoint_url)
        return llm.dialect

    def _params(
        self, llm: Fields, own: Mapping[str, Any], further: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the user set, and the further keys: on ``/v1`` an untouched default was not set.

        Call arguments override ``model_kwargs``, which override fields, whichever of its names a parameter has.
        """
        values: dict[str, Any] = {}
        for name in IN_BODY:
            if name == "stop":
                values[name] = self.stop
            elif name in own:
                values[name] = own[name]
            elif self.dialect == "chatglm" or name in llm.model_fields_set:
                values[name] = getattr(llm, name)
        extra = {**(llm.model_kwargs or {}), **further}
        if keyed := key_within(extra):
            raise ParameterError(
                f"{shown(keyed, 60)} looks like a key, and what is asked is kept with its answer: "
                "give a key as api_key=…, or in headers=…."
            )
        for name, key in wire_names(self.dialect):
            if name in own:
                extra.pop(key, None)
            elif key in extra:
                values.pop(name, None)
        return values, extra

    def _call(
        self, llm: Fields, question: Question, headers: Headers, wait: Limits, retries: int, sample: int
    ) -> tuple[Call, tuple[str, ...]]:
        if self.dialect == "openai":
            url = openai.url(checked_url(self.endpoint_url))
            usage = llm.stream_usage and url not in llm._own.no_usage
            body, changed = openai.encode(question, server=openai.server_of(url), usage=usage)
        else:
            url = chatglm.url(checked_url(self.endpoint_url))
            body, changed = chatglm.encode(question)
        _guard(url, headers, llm)
        sent = url, self.dialect, body, encoded(body), checked_headers(headers)
        return Call(*sent, wait, retries, llm._own.no_usage, sample, self.stop), changed

    def _headers(self, configured: str, credentials: Credentials) -> Headers:
        """Return the headers that go to this request's origin, the key among them."""
        ours = credentials.for_url(self.endpoint_url)
        headers = Headers({name: value.get_secret_value() for name, value in (ours.headers or {}).items()})
        key = key_for(self.endpoint_url, configured, ours.key)
        if key is not None:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        return headers

    def again(self, sample: int) -> Plan:
        """Return the plan of another answer to the same question."""
        plan = copy(self)
        plan.call = replace(self.call, sample=_sample(sample))
        return plan

    @property
    def sent(self) -> dict[str, Any]:
        """What goes over the wire besides the conversation."""
        return {k: v for k, v in self.call.body.items() if k not in ("prompt", "history", "messages")}


def _guard(url: str, headers: Headers, llm: Fields) -> None:
    """Keep a secret from being sent where everyone on the way can read it: any header that was given may be one.

    :raises EndpointError: ``insecure``.
    """
    if headers and urlsplit(url).scheme == "http" and not is_loopback(url) and not llm.insecure:
        raise EndpointError(
            "A key, or a header that may hold one, would go to another machine over plain http, where it can be "
            "read on the way. Use an https:// address, or allow it with insecure=True "
            "(%chatglm_config insecure=true).",
            kind="insecure",
        )


def _sample(number: Any) -> int:
    """Return which of several answers to one question is wanted.

    :raises ParameterError: for anything but a whole number from 0 on.
    """
    if type(number) is not int or number < 0:
        raise ParameterError("sample must be a whole number from 0 on: the answers to one question are counted.")
    return number
