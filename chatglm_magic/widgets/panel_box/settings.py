"""The panel's settings as plain values: the fields, how their input is parsed, and why a value is rejected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from pydantic import SecretStr
from traitlets import TraitError

from ...errors import ChatGLMError, ParameterError
from ...parameters import PARAMETERS, THINKING_LEVELS, parameter_names
from ...session import Session
from ..trouble import ErrorReporter
from ..words import label_of, reword_for_widgets

Values = dict[str, Any]

DIALECT_OPTIONS = [["", "Auto (from URL)"], ["chatglm", "ChatGLM (POST /)"], ["openai", "OpenAI (/v1)"]]
DEFAULT_SLIDER_MAX_TOKENS = 16384
"""The right end of the slider of Max tokens if the server doesn't report its context size."""

SLIDER_MIN_TOKENS = 16
"""The left end of the slider of Max tokens."""

SERVER_TITLE = "Server"
NUMBER_NAMES = parameter_names("sampling", "more")
STOP_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"))


class SettingsDisplay(Protocol):
    """Displays settings: the sidebar, or its plain counterpart. None in ``values`` is the server's default."""

    values: Values
    errors: Values
    ranges: Values
    options: Values
    key: bool


def make_field(name: str, kind: str, label: str, *, hint: str = "", start: Any = None, **more: Any) -> Values:
    """Return the constant properties of a field."""
    return {"name": name, "kind": kind, "label": label, "hint": hint, "start": start, **more}


def number_field(name: str) -> Values:
    """Return the field of a numeric parameter, with its slider's step and its initial value once it is set."""
    row = PARAMETERS[name]
    assert row.slider is not None, "a numeric parameter has a slider"
    start = row.neutral if row.default is None else row.default
    if name == "max_token":
        start = 512
    scale: Values = {"step": row.slider[2], "whole": row.type is int, "log": name == "max_token"}
    return make_field(name, "number", label_of(name), hint=row.help, start=start, **scale)


SECTIONS: list[Values] = [
    {
        "title": "",
        "fields": [
            *map(number_field, parameter_names("sampling")),
            make_field("with_history", "check", "Send earlier turns"),
        ],
    },
    {"title": "More sampling", "fields": [number_field(name) for name in parameter_names("more")]},
    {"title": "System prompt", "fields": [make_field("system", "lines", "System prompt", hint="none")]},
    {
        "title": "Thinking, seed, stop",
        "fields": [
            make_field("thinking", "choice", "Thinking"),
            make_field("seed", "text", "Seed", hint="none"),
            make_field("stop", "lines", "Stop strings", hint="one per line"),
        ],
    },
    {
        "title": SERVER_TITLE,
        "fields": [
            make_field("endpoint_url", "text", "Address"),
            make_field("model", "suggest", "Model", hint="server default"),
            make_field("dialect", "choice", "Protocol"),
            make_field("api_key", "secret", "API key"),
        ],
    },
]
FIELDS = {each["name"]: each for section in SECTIONS for each in section["fields"]}


class SettingsBinding:
    """Two-way binding between a session's settings and their display.

    It uses its own observers, since ``traitlets.link`` fails across threads and clamps silently.

    :param on_number_change: called after a user has changed a number.
    """

    def __init__(
        self,
        session: Session,
        display: SettingsDisplay,
        reporter: ErrorReporter,
        on_number_change: Callable[[], None],
    ) -> None:
        self._session, self._display, self._reporter = session, display, reporter
        self._on_number_change = on_number_change
        self._lock = threading.RLock()
        self._names = [name for name in FIELDS if name != "api_key"]
        self.context_size: int | None = None
        session.settings.observe(self._on_setting, names=self._names)
        self.show()

    def stop_observing(self) -> None:
        """Stop observing the settings."""
        with suppress(ValueError):  # not observing any more
            self._session.settings.unobserve(self._on_setting, names=self._names)

    def set_context_size(self, tokens: int | None) -> None:
        """Set the size of the server's context, which ends the slider of Max tokens; None if unknown."""
        self.context_size = tokens
        self.show()

    def set(self, name: str, value: Any) -> None:
        """Set a setting from a user's input; rejected input stays in its field, with the reason below it."""
        if name not in FIELDS:
            return
        try:
            parsed = parse_value(name, value)
        except (TypeError, ValueError, OverflowError) as error:
            self._reject(name, value, error)
            return
        try:
            if name == "api_key":
                self._session.llm.api_key = SecretStr(parsed) if parsed else None
                self._display.key = bool(parsed)
            else:
                self._session.set_parameter(name, parsed)
        except (ChatGLMError, TraitError) as error:
            self._reject(name, value, error)
        except Exception as error:  # noqa: BLE001 - from an observer of other code
            self._reporter.report(error)
            self.show()
        else:
            self._clear_error(name)
            self.show()
            if name in NUMBER_NAMES:
                self._on_number_change()

    def reset(self, name: str) -> None:
        """Reset a setting to its default, as if it had never been set."""
        if name in self._names:
            self._session.reset_parameter(name)
            self._clear_error(name)
            self.show()
            self._on_number_change()

    def reset_all(self) -> None:
        """Reset every setting to its default, except those of the server."""
        for section in SECTIONS:
            for each in section["fields"] if section["title"] != SERVER_TITLE else ():
                self._session.reset_parameter(each["name"])
                self._clear_error(each["name"])
        self.show()
        self._on_number_change()

    def show(self) -> None:
        """Update the display from the settings."""
        with self._lock:
            display = self._display
            values = {name: self._value(name) for name in self._names}
            ranges = {name: self._range(name, values[name]) for name in NUMBER_NAMES}
            options = {**display.options, "thinking": self._thinking_options(), "dialect": DIALECT_OPTIONS}
            for name, value in (("options", options), ("ranges", ranges), ("values", values)):
                if getattr(display, name) != value:
                    setattr(display, name, value)

    def _value(self, name: str) -> Any:
        value = getattr(self._session.settings, name)
        if name in NUMBER_NAMES:
            return value if self._is_sent(name, value) else None
        if name == "stop":
            return format_stops(value)
        return "" if value is None else value if isinstance(value, bool) else str(value)

    def _is_sent(self, name: str, value: Any) -> bool:
        """Return whether a value is sent: an untouched default is only sent to ChatGLM's own protocol."""
        settings = self._session.settings
        return value is not None and (settings.effective_dialect == "chatglm" or name in settings.chosen)

    def _range(self, name: str, value: Any) -> list[float]:
        """Return the range of a slider, widened to include its value."""
        low, high = self._session.slider_range(name)
        if name == "max_token":
            low, high = SLIDER_MIN_TOKENS, self.context_size or DEFAULT_SLIDER_MAX_TOKENS
        return [low, high] if value is None else [min(low, value), max(high, value)]

    def _thinking_options(self) -> list[list[str]]:
        levels, present = self._session.thinking_levels, self._session.settings.thinking
        listed = [level for level in THINKING_LEVELS if level in levels or level == present]
        return [
            ["", "server default"],
            *([level, level if level in levels else f"{level} (not this model's)"] for level in listed),
        ]

    def _reject(self, name: str, typed: Any, error: Exception) -> None:
        with self._lock:
            text = "" if name == "api_key" else typed if isinstance(typed, str | int | float) else ""
            rejection = {"typed": text, "text": rejection_text(name, error)}
            self._display.errors = {**self._display.errors, name: rejection}

    def _clear_error(self, name: str) -> None:
        with self._lock:
            if name in self._display.errors:
                self._display.errors = {key: value for key, value in self._display.errors.items() if key != name}

    def _on_setting(self, change: Any) -> None:
        try:
            self._clear_error(change["name"])
            self.show()
        except Exception as error:  # noqa: BLE001 - a widget must not fail the code that changed the setting
            self._reporter.report(error)


def parse_value(name: str, value: Any) -> Any:
    """Return a setting's value from a page's input: a text, a number, a boolean or None.

    :raises ValueError: if the input isn't valid for the setting.
    """
    kind = FIELDS[name]["kind"]
    if kind == "check":
        return bool(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return "" if name == "endpoint_url" else None
    if kind == "secret":
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError("isn't a key")
        return value.strip()
    if kind == "number":
        parsed = float(value)
        if not FIELDS[name]["whole"]:
            return parsed
        if parsed != int(parsed):
            raise ValueError("isn't whole")
        return int(parsed)
    if name == "seed":
        return int(value)
    if name == "stop":
        return parse_stops(str(value))
    return str(value) if name == "system" else str(value).strip()


def rejection_text(name: str, error: Exception) -> str:
    """Return why a value is rejected, in the panel's terms."""
    each = FIELDS[name]
    if name == "seed":
        return "Seed must be a whole number, or empty for none."
    if each["kind"] == "number":
        row = PARAMETERS[name]
        what = "a whole number" if each["whole"] else "a number"
        if row.maximum is not None:
            return f"{each['label']} must be {what} from {row.minimum:g} to {row.maximum:g}, or empty."
        return f"{each['label']} must be {what} of at least {row.minimum:g}, or empty."
    if isinstance(error, ParameterError | TraitError):
        text = reword_for_widgets(str(error))
        return text[:1].upper() + text[1:]
    return f"Invalid value for {each['label']}."


def parse_stops(lines: str) -> list[str] | None:
    """Parse stop strings, one per line, with the escapes ``\\n``, ``\\t`` and ``\\\\``."""
    stops = []
    for line in lines.split("\n"):
        text = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")
        stops += [text] if text else []
    return stops or None


def format_stops(texts: list[str] | None) -> str:
    """Format stop strings as :func:`parse_stops` parses them."""
    lines = []
    for text in texts or []:
        for plain, escaped in STOP_ESCAPES:
            text = text.replace(plain, escaped)
        lines.append(text)
    return "\n".join(lines)
