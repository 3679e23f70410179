"""The fields of ``ChatGLM`` and ``GLMChatModel``: what they take, what is kept of them, what is shown."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.language_models import BaseLanguageModel
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, create_model

from ..parameters import LANGCHAIN_CONFIG, PARAMETERS
from . import fields, saving
from .keys import Credentials, origin
from .prompts import with_roles
from .runtime import Runtime

if TYPE_CHECKING:
    from ..tape import Tape

_CALL: ContextVar[tuple[int, Mapping[str, Any]]] = ContextVar("chatglm_call", default=(0, {}))
"""The present call's own values and whose call it is: LangChain's caches know a model by its fields alone."""

ANSWER_CHANGING = tuple(row.name for row in PARAMETERS.values() if row.changes_answer)
NOT_IN_BODY = (*LANGCHAIN_CONFIG, *PARAMETERS)

CHAT_NAMES = {"max_token": "max_tokens"}
"""Parameters that have another name in ``GLMChatModel``: the one that LangChain's chat models have."""


STRICT = ConfigDict(validate_assignment=True, extra="forbid", hide_input_in_errors=True)
"""How both classes take values; LangChain's own classes would ignore what they don't know."""

BODY_ROWS = tuple(row for row in PARAMETERS.values() if row.in_body and row.type is not object)

if TYPE_CHECKING:

    class _LangChainModel(BaseModel):
        """What both of LangChain's kinds of models have; whose invoke returns what is theirs to say."""

        custom_get_token_ids: Callable[[str], list[int]] | None

    class _SharedBodyFields(_LangChainModel):
        temperature: float | None
        top_p: float | None
        top_k: int | None
        min_p: float | None
        presence_penalty: float | None
        frequency_penalty: float | None
        repetition_penalty: float | None
        stop: list[str] | None
        seed: int | None
        system: str | None
        model: str | None
        thinking: Literal["off", "on", "low", "high", "max"] | None

    class BodyFields(_SharedBodyFields):
        """For editors and type checkers: the fields that rows of the table make; a test compares them."""

        max_token: int | None

    class ChatBodyFields(_SharedBodyFields):
        """The same of a chat model, whose ``max_token`` has the name that LangChain's chat models have."""

        max_tokens: int | None
else:
    _LangChainModel = BaseLanguageModel
    BodyFields = create_model(
        "BodyFields",
        __base__=BaseLanguageModel,
        **{row.name: fields.field_of(row) for row in BODY_ROWS},
    )
    ChatBodyFields = create_model(
        "ChatBodyFields",
        __base__=BaseLanguageModel,
        **{CHAT_NAMES.get(row.name, row.name): (fields.field_of(row)[0], None) for row in BODY_ROWS},
    )


class ModelFields(_LangChainModel):
    """What both classes have besides the parameters of a request's body: how, where and with which key to send it.

    :raises ParameterError: at construction and on assignment, for a wrong value or an unknown field.
    """

    endpoint_url: fields.Address = "http://127.0.0.1:8000/"
    """Posted to as it is in ChatGLM's own protocol; the base or the full URL of a ``/v1`` server."""
    model_kwargs: dict[str, Any] | None = None
    """Further keys of the request's body."""
    dialect: Literal["chatglm", "openai"] | None = None
    """None follows from the URL: a path that ends in /v1, /v4 or /chat/completions is OpenAI's."""
    api_key: SecretStr | None = None
    """Sent to the endpoint's origin alone; the environment's CHATGLM_API_KEY where unset."""
    timeout: fields.Timeout | None = None
    """Seconds to wait for the first byte, between bytes and for new text; or a mapping of connect (5),
    first_byte (600), idle (120), content (300) and total (3600)."""
    max_retries: fields.Retries = 2
    """How often a question is asked again when nothing was sent, or after 429 and 503."""
    max_concurrency: fields.Concurrency = 16
    """How many questions of a batch are under way at once, unless the call's configuration says otherwise."""
    headers: dict[str, SecretStr] | None = Field(default=None, repr=False, exclude=True)
    """Further HTTP headers, for the endpoint's origin alone."""
    stream_usage: bool = True
    """Whether a stream is asked for its token counts (``stream_options``)."""
    insecure: bool = False
    """Whether a key, or a header of ``headers``, may be sent to another machine over plain http."""
    tape: fields.TapePath | None = None
    """A file of recorded answers, as JSON lines; a relative path is of the folder it is first used in."""
    tape_mode: Literal["auto", "replay", "record"] = "auto"
    """``auto`` gives the answers that are on the tape and records the others, ``replay`` asks no server,
    ``record`` sends each request again. CHATGLM_MAGIC_TAPE_MODE in the environment where unset."""
    tape_timing: bool = False
    """Whether a recorded answer comes as it did when it was recorded, or at once."""

    _runtime: Runtime = PrivateAttr(default_factory=Runtime)
    _credentials: Credentials = PrivateAttr(default_factory=Credentials)
    """The key and the headers with the origin they were given for: requests read them here, not in the fields."""

    def __init__(self, **values: Any) -> None:
        if "callback_manager" in values:
            warnings.warn("callback_manager is deprecated; use callbacks.", DeprecationWarning, stacklevel=2)
            values = {"callbacks": values["callback_manager"]} | values
            del values["callback_manager"]
        known = type(self).model_fields
        strange = next((name for name in values if name not in known), None)
        if strange is not None:
            values.clear()  # a verbose traceback prints this frame's variables, and a key may be among them
            raise fields.unknown_field(strange, known, type(self).__name__)
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = fields.parameter_error(error)
        else:
            self._credentials = Credentials(origin(self.endpoint_url), self.api_key, self.headers)
            return
        values.clear()
        raise problem

    def __setattr__(self, name: str, value: Any) -> None:
        known = type(self).model_fields
        if name not in known and not name.startswith("_") and not hasattr(type(self), name):
            value = None  # as in __init__
            raise fields.unknown_field(name, known, type(self).__name__)
        here = origin(self.endpoint_url)
        left = name == "endpoint_url" and origin(str(value)) != here
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            problem = fields.parameter_error(error)
        else:
            if left:  # a key never goes to another origin than the one it was given for
                self._credentials = Credentials(origin(self.endpoint_url))
                super().__setattr__("api_key", None)
                super().__setattr__("headers", None)
            if name in ("api_key", "headers"):
                self._credentials = self._credentials.replace(here, {name: getattr(self, name)})
            if name in known:
                for observer in tuple(self._runtime.observers):
                    observer(name, getattr(self, name))
            return
        value = None
        raise problem

    def snapshot(self) -> tuple[dict[str, Any], frozenset[str], Credentials]:
        """Return the fields by the names of the table, which of them were set, and the credentials.

        All of one moment: another thread may change the model.
        """
        return dict(self.__dict__), frozenset(self.model_fields_set), self._credentials

    def _tape(self) -> Tape:
        """Return the tape that a question asked now goes through.

        :raises ParameterError: if the environment names a mode that there is not.
        """
        mode = self.tape_mode if "tape_mode" in self.model_fields_set else None
        return self._runtime.tape(str(self.tape), mode, timed=self.tape_timing)

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
                blank = BaseModel.__copy__(_blank(type(self)))
                copy = self.__pydantic_validator__.validate_assignment(blank, name, value)
            except ValidationError as error:
                problem = fields.parameter_error(error)
            else:
                found[name] = getattr(copy, name)
                continue
            raise problem
        return found

    def save(self, file_path: Path | str) -> None:
        """Write the fields that were set to a JSON or YAML file, without secrets.

        :raises ParameterError: for a name that ends neither in .json nor in .yaml or .yml.
        """
        saving.write(self, Path(file_path))

    def close(self) -> None:
        """Close the pooled connections; the next question opens new ones."""
        self._runtime.close()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; a key or headers that are changed belong to the copy's endpoint, others to their own."""
        copied = super().model_copy(update=update, deep=deep)
        given = {name: value for name, value in (update or {}).items() if name in ("api_key", "headers")}
        if given:
            copied._credentials = copied._credentials.replace(origin(copied.endpoint_url), given)
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        private = state["__pydantic_private__"] | {"_credentials": Credentials(origin(self.endpoint_url))}
        public = state["__dict__"] | {"api_key": None, "headers": None}
        return state | {"__dict__": public, "__pydantic_private__": private}

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._runtime = Runtime()
        return copied


class Fields(ModelFields, BodyFields):
    """Every field and default of the original, and ours; a request's body has its rows in ``parameters.py``."""

    history: fields.Pairs = Field(default_factory=list)
    """The conversation as [question, answer] pairs; sent even when ``with_history`` is off."""
    with_history: bool = False
    """Whether finished exchanges are added to ``history``; many questions at once see it and leave it as it is."""

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """All that can change an answer, so that a cache never gives a stale one; never the key."""
        found = {name: getattr(self, name) for name in ANSWER_CHANGING if name in self.model_fields_set}
        found |= {"endpoint_url": self.endpoint_url} | ({"history": self.history} if self.history else {})
        owner, call = _CALL.get()
        further = {}
        if owner == id(self):
            found |= {name: call[name] for name in ANSWER_CHANGING if name in call}
            further = {name: call[name] for name in call if name not in (*ANSWER_CHANGING, *NOT_IN_BODY)}
        return found | {"model_kwargs": {**(self.model_kwargs or {}), **further}}

    @contextmanager
    def _calling(self, prompts: Sequence[str], call: Mapping[str, Any]) -> Iterator[None]:
        """Let the call's own values count among what identifies the model while the block runs."""
        fields.refuse_object_fields(call)
        roles = [with_roles(prompt) for prompt in prompts]
        token = _CALL.set((id(self), {**call, "messages": roles} if any(roles) else call))
        try:
            yield
        finally:
            _CALL.reset(token)


@cache
def _blank(kind: type[ModelFields]) -> ModelFields:
    """Return an object whose copies values are checked against: to make one takes half a millisecond."""
    return kind.model_construct()
