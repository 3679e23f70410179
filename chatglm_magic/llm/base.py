"""The fields of ``ChatGLM`` and ``GLMChatModel``: validation, assignment, copies and configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.configurable import RunnableConfigurableFields
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, create_model

from ..errors import ParameterError
from ..parameters import LANGCHAIN_CONFIG, PARAMETERS
from . import fields, saving
from .keys import Credentials, origin
from .prompts import to_role_messages
from .runtime import Runtime

if TYPE_CHECKING:
    from ..tape import Tape

_CALL: ContextVar[tuple[int, Mapping[str, Any]]] = ContextVar("chatglm_call", default=(0, {}))
"""The current call's model (its ``id``) and arguments: LangChain's caches identify a model by its fields only."""

ANSWER_CHANGING = tuple(row.name for row in PARAMETERS.values() if row.changes_answer)
NOT_IN_BODY = (*LANGCHAIN_CONFIG, *PARAMETERS)

CHAT_NAMES = {"max_token": "max_tokens"}
"""Parameters with another name in ``GLMChatModel``, as in LangChain's chat models."""

TABLE_NAMES = {name: row for row, name in CHAT_NAMES.items()}


def to_chat_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename parameters to their names in ``GLMChatModel``."""
    return {CHAT_NAMES.get(name, name): value for name, value in values.items()}


def refuse_both_names(values: Mapping[str, Any]) -> None:
    """Refuse a parameter that is given by both of its names.

    :raises ParameterError: which contains neither value.
    """
    for row, name in CHAT_NAMES.items():
        if row in values and name in values:
            raise ParameterError(f"{row} and {name} are one parameter: give one of them.")


STRICT_CONFIG = ConfigDict(validate_assignment=True, extra="forbid", hide_input_in_errors=True)
"""The configuration of both classes; LangChain's classes ignore unknown fields."""

BODY_PARAMETERS = tuple(row for row in PARAMETERS.values() if row.in_body and row.type is not object)

if TYPE_CHECKING:

    class _LangChainModel(BaseModel):
        """What LangChain's LLMs and chat models share, without ``invoke``, whose types differ."""

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
        """For editors and type checkers: the fields created from the table of parameters; a test compares them."""

        max_token: int | None

    class ChatBodyFields(_SharedBodyFields):
        """As :class:`BodyFields`, with the names of :data:`CHAT_NAMES`."""

        max_tokens: int | None
else:
    _LangChainModel = BaseLanguageModel
    BodyFields = create_model(
        "BodyFields",
        __base__=BaseLanguageModel,
        **{row.name: fields.field_of(row) for row in BODY_PARAMETERS},
    )
    ChatBodyFields = create_model(
        "ChatBodyFields",
        __base__=BaseLanguageModel,
        **{CHAT_NAMES.get(row.name, row.name): (fields.field_of(row)[0], None) for row in BODY_PARAMETERS},
    )


class ModelFields(_LangChainModel):
    """The fields of both classes besides the parameters of a request's body: how and where to send it.

    :raises ParameterError: at construction and on assignment, for a wrong value or an unknown field.
    """

    endpoint_url: fields.EndpointURL = "http://127.0.0.1:8000/"
    """In ChatGLM's protocol the full URL; for an OpenAI server its base or full URL."""
    model_kwargs: dict[str, Any] | None = None
    """Further keys of the request's body."""
    dialect: Literal["chatglm", "openai"] | None = None
    """None detects it from the URL: a path that ends in /v1, /v4 or /chat/completions is OpenAI's."""
    api_key: SecretStr | None = None
    """Only sent to the endpoint's origin; defaults to CHATGLM_API_KEY in the environment."""
    timeout: fields.Timeout | None = None
    """Seconds to wait for the first byte, between bytes and for new text; or a mapping of connect (5),
    first_byte (600), idle (120), content (300) and total (3600)."""
    max_retries: fields.Retries = 2
    """Retries for requests that never reached the server, or got 429 or 503."""
    max_concurrency: fields.Concurrency = 16
    """Maximum number of concurrent requests of a batch, unless the call's configuration sets it."""
    headers: dict[str, SecretStr] | None = Field(default=None, repr=False, exclude=True)
    """Further HTTP headers; only sent to the endpoint's origin."""
    stream_usage: bool = True
    """Whether to request token counts with a stream (``stream_options``)."""
    insecure: bool = False
    """Whether a key, or a header of ``headers``, may be sent over unencrypted HTTP to a remote host."""
    tape: fields.TapePath | None = None
    """A JSON Lines file of recorded answers; its path is relative to the current folder at its first use."""
    tape_mode: Literal["auto", "replay", "record"] = "auto"
    """``auto`` replays answers that are on the tape and records the others, ``replay`` never sends a request,
    ``record`` always does. Defaults to CHATGLM_MAGIC_TAPE_MODE in the environment."""
    tape_timing: bool = False
    """Whether a recorded answer is replayed with its original timing, or at once."""

    _runtime: Runtime = PrivateAttr(default_factory=Runtime)
    _credentials: Credentials = PrivateAttr(default_factory=Credentials)
    """The key and the headers with their origin; requests read them here, not from the fields."""

    def __init__(self, **values: Any) -> None:
        if "callback_manager" in values:
            warnings.warn("callback_manager is deprecated; use callbacks.", DeprecationWarning, stacklevel=2)
            values = {"callbacks": values["callback_manager"]} | values
            del values["callback_manager"]
        known = type(self).model_fields
        unknown = next((name for name in values if name not in known), None)
        if unknown is not None:
            values.clear()  # a verbose traceback prints this frame's variables, and a key may be among them
            raise fields.unknown_field(unknown, known, type(self).__name__)
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
        old_origin = origin(self.endpoint_url)
        changes_origin = name == "endpoint_url" and origin(str(value)) != old_origin
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            problem = fields.parameter_error(error)
        else:
            if changes_origin:  # a key is never sent to another origin than the one it was given for
                self._credentials = Credentials(origin(self.endpoint_url))
                super().__setattr__("api_key", None)
                super().__setattr__("headers", None)
            if name in ("api_key", "headers"):
                self._credentials = self._credentials.replace(old_origin, {name: getattr(self, name)})
            if name in known:
                for observer in tuple(self._runtime.observers):
                    observer(name, getattr(self, name))
            return
        value = None
        raise problem

    def snapshot(self) -> tuple[dict[str, Any], frozenset[str], Credentials]:
        """Return the fields by the names of the table, which of them were set, and the credentials.

        They are consistent even if another thread changes the model.
        """
        return dict(self.__dict__), frozenset(self.model_fields_set), self._credentials

    def _tape(self) -> Tape:
        """Return the tape for a request that is sent now.

        :raises ParameterError: if the environment's mode is invalid.
        """
        mode = self.tape_mode if "tape_mode" in self.model_fields_set else None
        return self._runtime.tape(str(self.tape), mode, timed=self.tape_timing)

    @property
    def lc_secrets(self) -> dict[str, str]:
        return {"api_key": "CHATGLM_API_KEY"}

    def validate_arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments, validated and converted as the fields of their names.

        :raises ParameterError: for a value that is invalid for its field.
        """
        validated = {}
        for name, value in values.items():
            try:
                blank = BaseModel.__copy__(_blank_model(type(self)))
                copy = self.__pydantic_validator__.validate_assignment(blank, name, value)
            except ValidationError as error:
                problem = fields.parameter_error(error)
            else:
                validated[name] = getattr(copy, name)
                continue
            raise problem
        return validated

    def save(self, file_path: Path | str) -> None:
        """Write the fields that were set to a JSON or YAML file, without secrets.

        :raises ParameterError: if the name doesn't end in .json, .yaml or .yml.
        """
        saving.save_model(self, Path(file_path))

    def close(self) -> None:
        """Close the pooled connections; the next request opens new ones."""
        self._runtime.close()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; an updated key or headers belong to the copy's endpoint, others to their old one."""
        copied = super().model_copy(update=update, deep=deep)
        secrets = {name: value for name, value in (update or {}).items() if name in ("api_key", "headers")}
        if secrets:
            copied._credentials = copied._credentials.replace(origin(copied.endpoint_url), secrets)
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


class ChatGLMFields(ModelFields, BodyFields):
    """All fields and defaults of the original, and those of this package."""

    history: fields.Pairs = Field(default_factory=list)
    """The conversation as [prompt, answer] pairs; sent even when ``with_history`` is off."""
    with_history: bool = False
    """Whether finished turns are added to ``history``. The requests of a batch include it, but don't add to it."""

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """All that can change an answer, so that a cache never returns a stale one; never the key."""
        values = {name: getattr(self, name) for name in ANSWER_CHANGING if name in self.model_fields_set}
        values |= {"endpoint_url": self.endpoint_url} | ({"history": self.history} if self.history else {})
        owner, call = _CALL.get()
        further = {}
        if owner == id(self):
            values |= {name: call[name] for name in ANSWER_CHANGING if name in call}
            further = {name: call[name] for name in call if name not in (*ANSWER_CHANGING, *NOT_IN_BODY)}
        return values | {"model_kwargs": {**(self.model_kwargs or {}), **further}}

    @contextmanager
    def _identify_call(self, prompts: Sequence[str], call: Mapping[str, Any]) -> Iterator[None]:
        """Add the call's arguments to ``_identifying_params`` while the block runs."""
        fields.refuse_object_fields(call)
        roles = [to_role_messages(prompt) for prompt in prompts]
        token = _CALL.set((id(self), {**call, "messages": roles} if any(roles) else call))
        try:
            yield
        finally:
            _CALL.reset(token)


@cache
def _blank_model(model_class: type[ModelFields]) -> ModelFields:
    """Return an object whose copies are used to validate arguments; creating one takes half a millisecond."""
    return model_class.model_construct()


class ConfigurableChatGLM(RunnableConfigurableFields):  # type: ignore[type-arg]
    """A ``ChatGLM`` with fields that a call's configuration sets, while unset fields stay unset.

    LangChain constructs the configured model with all values of the original, as if each had been set. But on
    ``/v1`` only what was set is sent, so the copy gets the original's set of set fields, and its connections.
    """

    def _prepare(self, config: RunnableConfig | None = None) -> tuple[Runnable[Any, str], RunnableConfig]:
        model, config = super()._prepare(config)
        original: Any = self.default
        if isinstance(model, type(original)) and model is not original:
            ids = config.get("configurable", {})
            configured = {name for name, spec in self.fields.items() if spec.id in ids}
            object.__setattr__(model, "__pydantic_fields_set__", original.model_fields_set | configured)
            model._runtime.share(original._runtime)
            if model._credentials.origin != original._credentials.origin:
                for secret in {"api_key", "headers"} - configured:
                    setattr(model, secret, None)  # it was given for another origin
        return model, config
