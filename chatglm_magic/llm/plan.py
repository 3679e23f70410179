"""From a ``ChatGLM``'s fields and a call's arguments to the one request that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..client import Call
from ..client.address import checked_url
from ..client.call import Headers, checked_headers, encoded
from ..values import Pair, Params, Question
from ..wire import Dialect, chatglm, dialect_of, openai
from .fields import limits
from .keys import key_for, origin

if TYPE_CHECKING:
    from .chatglm import ChatGLM

SAMPLING = ("temperature", "top_p", "max_token", "seed", "system", "model", "thinking")
CALL_FIELDS = (*SAMPLING, "stop", "history", "with_history", "endpoint_url", "dialect")
"""Fields that a call may set for itself; any other argument is a key of the request's body."""

WIRE_NAMES = {
    "chatglm": {"temperature": "temperature", "top_p": "top_p", "max_token": "max_length"},
    "openai": {"temperature": "temperature", "top_p": "top_p", "max_token": "max_tokens"},
}


class Plan:
    """One question's request, settled before anything is sent; later changes of the object don't touch it."""

    def __init__(self, llm: ChatGLM, prompt: str, stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> None:
        own = {name: kwargs[name] for name in CALL_FIELDS if name in kwargs}
        checked = llm.checked(own)
        self.prompt = prompt
        wished = [stop] if isinstance(stop, str) else stop
        self.stop = tuple(wished if wished is not None else checked.get("stop", llm.stop) or ())
        self.with_history: bool = checked.get("with_history", llm.with_history)
        self.history: list[Pair] = [(q, a) for q, a in checked.get("history", llm.history)]
        self.endpoint_url: str = checked.get("endpoint_url", llm.endpoint_url)
        self.dialect: Dialect = self._dialect(llm, checked)
        params = self._params(llm, checked, {k: v for k, v in kwargs.items() if k not in CALL_FIELDS})
        self.call, self.changed = self._call(llm, params)

    def _dialect(self, llm: ChatGLM, own: Mapping[str, Any]) -> Dialect:
        if own.get("dialect"):
            return own["dialect"]  # type: ignore[no-any-return]
        if "endpoint_url" in own or llm.dialect is None:
            return dialect_of(self.endpoint_url)
        return llm.dialect

    def _params(self, llm: ChatGLM, own: Mapping[str, Any], further: Mapping[str, Any]) -> Params:
        """Collect what the user set: on ``/v1`` an untouched default of the original is not a wish.

        The call beats ``model_kwargs``, and these beat the fields, whichever of a parameter's two names is used.
        """
        values = {}
        for name in SAMPLING:
            if name in own:
                values[name] = own[name]
            elif self.dialect == "chatglm" or name in llm.model_fields_set:
                values[name] = getattr(llm, name)
        extra = {**(llm.model_kwargs or {}), **further}
        for name, wire_name in WIRE_NAMES[self.dialect].items():
            if name in own:
                extra.pop(wire_name, None)
            elif wire_name in extra:
                values.pop(name, None)
        return Params(**values, stop=self.stop, extra=extra)

    def _call(self, llm: ChatGLM, params: Params) -> tuple[Call, tuple[str, ...]]:
        question = Question(self.prompt, tuple(self.history), params)
        if self.dialect == "openai":
            url = openai.url(checked_url(self.endpoint_url))
            body, changed = openai.encode(question, zai=openai.is_zai(url), usage=llm.stream_usage)
        else:
            url = chatglm.url(checked_url(self.endpoint_url))
            body, changed = chatglm.encode(question)
        key = key_for(url, llm.endpoint_url, llm.api_key)
        headers = Headers()
        if origin(url) == origin(llm.endpoint_url):  # they may hold a key too
            headers.update(llm.headers or {})
        if key is not None:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        checked = checked_headers(headers)
        call = Call(url, self.dialect, body, encoded(body), checked, limits(llm.timeout), llm.max_retries)
        return call, changed

    @property
    def sent(self) -> dict[str, Any]:
        """What goes over the wire besides the conversation."""
        return {k: v for k, v in self.call.body.items() if k not in ("prompt", "history", "messages")}
