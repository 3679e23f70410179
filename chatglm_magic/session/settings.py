"""The session's parameters as traits for ``%config``, and their two-way binding to its ``ChatGLM``."""

from __future__ import annotations

import math
import os
import types
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Bunch, Enum, Float, Int, List, TraitError, Unicode, default, validate
from traitlets.config import Config, Configurable

from ..client.address import check_url
from ..errors import EndpointError, ParameterError
from ..forks import LockOrder, fork_safe_lock
from ..parameters import PARAMETERS, Parameter
from ..wire import Dialect, dialect_of

if TYPE_CHECKING:
    from ..llm import ChatGLM

DEFAULT_ENDPOINT = "http://127.0.0.1:8000/"
STORE_FILE_NAME = "history.sqlite"
STORE_SUFFIXES = (".sqlite", ".sqlite3", ".db")

SHARED_TRAITS = tuple(row.name for row in PARAMETERS.values() if row.shared)
"""Traits that are also fields of ``ChatGLM``."""

TIMEOUT_TRAITS = ("connect", "first_byte", "idle", "content", "total")
"""Traits that make up the field ``timeout``."""

NUMBER_TRAITS = (*(name for name in SHARED_TRAITS if PARAMETERS[name].is_number), *TIMEOUT_TRAITS)
OTHER_TRAITS = tuple(name for name in SHARED_TRAITS if name not in NUMBER_TRAITS)


def make_trait(row: Parameter) -> Any:
    """Return the trait for a row of the parameter table."""
    common: dict[str, Any] = {"allow_none": True, "help": row.help}
    if row.choices:
        return Enum(list(row.choices), row.default, **common)
    if row.type is float:
        return Float(row.default, min=row.minimum, max=row.maximum, **common)
    if row.type is int:
        return Int(row.default, min=row.minimum, max=row.maximum, **common)
    return List(Unicode(), row.default, **common) if row.type is list else Unicode(row.default, **common)


_BODY = {row.name: make_trait(row) for row in PARAMETERS.values() if row.in_body and row.shared}
_BodySettings: Any = types.new_class("_BodySettings", (Configurable,), exec_body=lambda names: names.update(_BODY))


class ChatGLMSettings(_BodySettings):  # type: ignore[misc]
    """The session's parameters; None means the server's default.

    ``chosen`` holds the names that were set, in the settings or the model: only these are sent on ``/v1``.
    """

    endpoint_url = Unicode(help="server URL: http://host:8000/, or one that ends in /v1")
    dialect = Enum(
        ["chatglm", "openai"], None, allow_none=True, help="protocol: chatglm or openai; None follows the URL"
    )
    with_history = Bool(True, help="include earlier turns in each request")
    max_retries = Int(
        2, min=0, max=10, help="retries for requests that never reached the model, or got 429 or 503"
    )
    connect = Float(5.0, help="timeout for the connection, in seconds")
    first_byte = Float(600.0, help="timeout for the first byte of a response, in seconds")
    idle = Float(120.0, help="timeout between two pieces of a response, in seconds")
    content = Float(300.0, help="timeout for new text while the server only keeps the connection open, in seconds")
    total = Float(3600.0, help="timeout for a whole request, in seconds")
    store = Unicode(
        None,
        allow_none=True,
        help="where turns are saved: a folder, a .sqlite file, or off",
    )
    insecure = Bool(False, help="allow sending the API key and headers over unencrypted HTTP to a remote host")
    tape = Unicode(None, allow_none=True, help="file of recorded answers, or off")
    tape_mode = Enum(
        ["auto", "replay", "record"],
        help="auto: replay what is on the tape and record the rest; replay: send nothing; record: replace all",
    )
    tape_timing = Bool(False, help="replay answers at their recorded pace")

    def __init__(self, **kwargs: Any) -> None:
        self.chosen: set[str] = set()
        super().__init__(**kwargs)

    @default("endpoint_url")
    def _default_endpoint_url(self) -> str:
        return os.environ.get("CHATGLM_ENDPOINT_URL") or DEFAULT_ENDPOINT

    @default("tape_mode")
    def _default_tape_mode(self) -> str:
        mode = os.environ.get("CHATGLM_MAGIC_TAPE_MODE", "")
        return mode if mode in ("replay", "record") else "auto"  # a request reports an invalid mode

    def __setattr__(self, name: str, value: Any) -> None:
        # traitlets accepts any attribute, so a misspelled name would be ignored silently.
        if not (name.startswith("_") or name == "chosen" or hasattr(type(self), name)):
            raise AttributeError(f"ChatGLMSettings has no {name!r}; it has {', '.join(SETTING_NAMES)}.")
        super().__setattr__(name, value)

    @property
    def effective_dialect(self) -> Dialect:
        """The dialect that is set, or else the one that the URL implies."""
        return self.dialect or dialect_of(self.endpoint_url)  # type: ignore[return-value]

    @validate(*NUMBER_TRAITS)
    def _check_number(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if value is not None and not math.isfinite(value):
            raise TraitError(f"{name} must be a finite number, not {value}.")
        if name in TIMEOUT_TRAITS and value <= 0:
            raise TraitError(f"{name} must be a number of seconds above 0, not {value}.")
        self.chosen.add(name)
        return value

    @validate("store")
    def _check_store(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and (not value.strip() or "\0" in value):
            raise TraitError("store must be a folder, a .sqlite file, or off.")
        self.chosen.add("store")
        return value

    @validate(*OTHER_TRAITS)
    def _check_other(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "endpoint_url":
            try:
                check_url(value)
            except EndpointError as error:
                problem = str(error)
            else:
                problem = ""
            if problem:
                raise TraitError(problem)
        self.chosen.add(name)
        return value


SETTING_NAMES = (*SHARED_TRAITS, *TIMEOUT_TRAITS, "store")
for _name in SETTING_NAMES:
    getattr(ChatGLMSettings, _name).tag(config=True)


def make_settings(shell: Any | None) -> ChatGLMSettings:
    """Return new settings, configured by a shell's profile and command line.

    A value that was rejected before is still in IPython's configuration. It is skipped with a warning, so that
    the extension can be loaded again.
    """
    if shell is None:
        return ChatGLMSettings()
    try:
        return ChatGLMSettings(parent=shell)
    except TraitError:
        pass
    settings = ChatGLMSettings(parent=shell, config=Config())
    apply_config(settings, shell)
    return settings


def apply_config(settings: ChatGLMSettings, shell: Any) -> None:
    """Apply a shell's configuration; an invalid value is skipped with a warning."""
    for name, value in shell.config.get("ChatGLMSettings", {}).items():
        try:
            setattr(settings, name, value)
        except (TraitError, AttributeError) as error:
            warnings.warn(f"c.ChatGLMSettings.{name} is ignored: {error}", stacklevel=2)


def store_path(setting: str | None) -> Path | None:
    """Return the file that the setting ``store`` names; None for ``off``."""
    from ..store import Store

    if setting is None:
        return Store.default_path()
    if setting.lower() == "off":
        return None
    path = Path(setting).expanduser()
    return path if path.suffix in STORE_SUFFIXES else path / STORE_FILE_NAME


class SettingsSync:
    """Two-way binding of settings and model. The model is made on first use: LangChain takes a second to load."""

    def __init__(self, settings: ChatGLMSettings) -> None:
        self.settings = settings
        self._lock = fork_safe_lock(LockOrder.PARAMETERS)
        self._llm: ChatGLM | None = None
        settings.observe(self._copy_to_llm, names=[*SHARED_TRAITS, *TIMEOUT_TRAITS])

    @property
    def has_llm(self) -> bool:
        """Whether the model has been made."""
        return self._llm is not None

    def get_llm(self) -> ChatGLM:
        """Return the model, made from the settings if there is none; only chosen values count as set."""
        with self._lock:
            if self._llm is None:
                from ..llm import ChatGLM

                names = [name for name in SHARED_TRAITS if name in self.settings.chosen]
                chosen = {name: getattr(self.settings, name) for name in names}
                chosen["with_history"] = self.settings.with_history
                chosen["endpoint_url"] = self.settings.endpoint_url
                if self.settings.chosen & set(TIMEOUT_TRAITS):
                    chosen["timeout"] = self._timeout_values()
                self._attach(ChatGLM(**chosen))
            return self._llm  # type: ignore[return-value]

    def replace(self, llm: ChatGLM) -> None:
        """Replace the current model; the settings get its values.

        :raises ParameterError: for anything but a ``ChatGLM``.
        """
        from ..llm import ChatGLM

        if not isinstance(llm, ChatGLM):
            raise ParameterError(f"session.llm must be a ChatGLM, not {type(llm).__name__}.")
        if llm is not self._llm:
            with self._lock:
                self.release_llm()
                self._attach(llm)
        # Outside the lock: widgets observe the settings and acquire their own locks.
        explicit = set(llm.model_fields_set)
        llm.with_history = True
        for name in (*SHARED_TRAITS, "timeout"):
            self._copy_to_settings(name, getattr(llm, name))
        timeouts = self.settings.chosen.intersection(TIMEOUT_TRAITS)
        self.settings.chosen = explicit.intersection(SHARED_TRAITS) | timeouts

    def apply_unobserved(self) -> None:
        """Set the fields whose setting was assigned its current value: traitlets reports no change then."""
        llm = self.get_llm()
        for name in self.settings.chosen.intersection(SHARED_TRAITS) - llm.model_fields_set:
            setattr(llm, name, getattr(self.settings, name))

    def explicit_parameters(self) -> dict[str, Any]:
        """Return the parameters the user has set, by name."""
        llm = self.get_llm()
        names = [name for name in SHARED_TRAITS if name in llm.model_fields_set and PARAMETERS[name].recorded]
        return {name: getattr(llm, name) for name in names}

    def set_parameter(self, name: str, value: Any) -> None:
        """Set a parameter and notify observers, even if it has that value already.

        :raises TraitError: if the value is invalid.
        """
        settings = self.settings
        same = getattr(settings, name) == value
        setattr(settings, name, value)
        if same:
            settings.notify_change(Bunch(name=name, old=value, new=value, owner=settings, type="change"))

    def reset_parameter(self, name: str) -> None:
        """Reset a parameter to its default, so that it no longer counts as set, and notify observers."""
        settings, llm = self.settings, self.get_llm()
        value = settings.trait_defaults(name)
        setattr(settings, name, value)
        settings.chosen.discard(name)
        llm.model_fields_set.discard(name)
        settings.notify_change(Bunch(name=name, old=value, new=value, owner=settings, type="change"))

    def slider_range(self, name: str) -> tuple[float, float]:
        """Return the range of a sampling parameter that the server accepts, as far as known."""
        from ..wire.openai import server_of

        return PARAMETERS[name].range_for(server_of(self.settings.endpoint_url))

    def release_llm(self) -> None:
        """Stop observing the model and close its connections."""
        with self._lock:
            if self._llm is not None:
                self._llm._runtime.observers.remove(self._copy_to_settings)
                self._llm.close()
                self._llm = None

    def _attach(self, llm: ChatGLM) -> None:
        llm._runtime.observers.append(self._copy_to_settings)
        self._llm = llm

    def _timeout_values(self) -> dict[str, float]:
        return {name: getattr(self.settings, name) for name in TIMEOUT_TRAITS}

    def _copy_to_llm(self, change: Any) -> None:
        llm, name = self._llm, change["name"]
        if llm is None:
            return
        if name in TIMEOUT_TRAITS:
            from ..client.timeouts import Timeouts
            from ..llm.fields import parse_timeout

            if parse_timeout(llm.timeout) != Timeouts(**self._timeout_values()):
                llm.timeout = self._timeout_values()
        elif getattr(llm, name) != change["new"]:
            setattr(llm, name, change["new"])

    def _copy_to_settings(self, name: str, value: Any) -> None:
        with suppress(TraitError):  # a value that the settings reject stays in the model alone
            if name == "timeout":
                from ..llm.fields import parse_timeout

                for part, seconds in asdict(parse_timeout(value)).items():
                    if getattr(self.settings, part) != seconds:
                        setattr(self.settings, part, seconds)
            elif name in SHARED_TRAITS and getattr(self.settings, name) != value:
                setattr(self.settings, name, value)
