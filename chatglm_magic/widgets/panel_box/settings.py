"""The panel's settings as values: what each shows, what a reader may give it, and why a value is refused."""

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

DIALECTS = [["", "Auto (from URL)"], ["chatglm", "ChatGLM (POST /)"], ["openai", "OpenAI (/v1)"]]
LONGEST_CONTEXT = 16384
"""The right end of the slider of Max tokens where the server names no limit."""

FEWEST_TOKENS = 16
SERVER = "Server"
NUMBERS = parameter_names("sampling", "more")
ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"))


class Shown(Protocol):
    """What shows settings: the side bar, or its plain twin. ``values`` has None for the server's default."""

    values: Values
    errors: Values
    ranges: Values
    options: Values
    key: bool


def field(name: str, kind: str, label: str, *, hint: str = "", start: Any = None, **more: Any) -> Values:
    """Return what a page knows of one field from the beginning."""
    return {"name": name, "kind": kind, "label": label, "hint": hint, "start": start, **more}


def number(name: str) -> Values:
    """Return the field of a number: its slider, and where it starts once it is set."""
    row = PARAMETERS[name]
    assert row.slider is not None, "a parameter with a row has a slider"
    start = row.neutral if row.default is None else row.default
    if name == "max_token":
        start = 512
    whole = row.type is int
    return field(
        name, "number", label_of(name), hint=row.help, start=start, step=row.slider[2], whole=whole,
        log=name == "max_token",
    )  # fmt: skip


SECTIONS: list[Values] = [
    {
        "title": "",
        "fields": [
            *map(number, parameter_names("sampling")),
            field("with_history", "check", "Send earlier turns"),
        ],
    },
    {"title": "More sampling", "fields": [number(name) for name in parameter_names("more")]},
    {"title": "System prompt", "fields": [field("system", "lines", "System prompt", hint="none")]},
    {
        "title": "Thinking, seed, stop",
        "fields": [
            field("thinking", "choice", "Thinking"),
            field("seed", "text", "Seed", hint="none"),
            field("stop", "lines", "Stop strings", hint="one a line"),
        ],
    },
    {
        "title": SERVER,
        "fields": [
            field("endpoint_url", "text", "Address"),
            field("model", "suggest", "Model", hint="server default"),
            field("dialect", "choice", "Protocol"),
            field("api_key", "secret", "API key"),
        ],
    },
]
FIELDS = {each["name"]: each for section in SECTIONS for each in section["fields"]}


class SettingsBinding:
    """Keeps what is shown and a session's settings alike, wherever a change comes from.

    Observers of our own: ``traitlets.link`` breaks across threads, and clamps in silence.

    :param moved: is called after each change that a reader makes of a number.
    """

    def __init__(self, session: Session, shown: Shown, reporter: ErrorReporter, moved: Callable[[], None]) -> None:
        self._session, self._shown, self._reporter, self._moved = session, shown, reporter, moved
        self._lock = threading.RLock()
        self._names = [name for name in FIELDS if name != "api_key"]
        self.longest: int | None = None
        session.settings.observe(self._follow, names=self._names)
        self.show()

    def forget(self) -> None:
        """Stop following the settings."""
        with suppress(ValueError):  # forgotten already
            self._session.settings.unobserve(self._follow, names=self._names)

    def allow(self, tokens: int | None) -> None:
        """Take note of how many tokens the server's context holds, if it says so."""
        self.longest = tokens
        self.show()

    def set(self, name: str, value: Any) -> None:
        """Set what a reader gives; what is refused stays in its field, with the reason under it."""
        if name not in FIELDS:
            return
        try:
            found = read(name, value)
        except (TypeError, ValueError, OverflowError) as error:
            self._refuse(name, value, error)
            return
        try:
            if name == "api_key":
                self._session.llm.api_key = SecretStr(found) if found else None
                self._shown.key = bool(found)
            else:
                self._session.set_parameter(name, found)
        except (ChatGLMError, TraitError) as error:
            self._refuse(name, value, error)
        except Exception as error:  # noqa: BLE001 - of somebody else's observer
            self._reporter.report(error)
            self.show()
        else:
            self._accept(name)
            self.show()
            if name in NUMBERS:
                self._moved()

    def reset(self, name: str) -> None:
        """Put a setting back to its default, as if it had never been set."""
        if name in self._names:
            self._session.reset_parameter(name)
            self._accept(name)
            self.show()
            self._moved()

    def reset_all(self) -> None:
        """Put every setting but the server's back to its default."""
        for section in SECTIONS:
            for each in section["fields"] if section["title"] != SERVER else ():
                self._session.reset_parameter(each["name"])
                self._accept(each["name"])
        self.show()
        self._moved()

    def show(self) -> None:
        """Bring what is shown up to the settings."""
        with self._lock:
            shown = self._shown
            values = {name: self._value(name) for name in self._names}
            ranges = {name: self._range(name, values[name]) for name in NUMBERS}
            options = {**shown.options, "thinking": self._levels(), "dialect": DIALECTS}
            for name, value in (("options", options), ("ranges", ranges), ("values", values)):
                if getattr(shown, name) != value:
                    setattr(shown, name, value)

    def _value(self, name: str) -> Any:
        value = getattr(self._session.settings, name)
        if name in NUMBERS:
            return value if self._is_sent(name, value) else None
        if name == "stop":
            return stop_lines(value)
        return "" if value is None else value if isinstance(value, bool) else str(value)

    def _is_sent(self, name: str, value: Any) -> bool:
        """Tell whether a value goes over the wire: an untouched default goes to ChatGLM's own protocol only."""
        settings = self._session.settings
        return value is not None and (settings.effective_dialect == "chatglm" or name in settings.chosen)

    def _range(self, name: str, value: Any) -> list[float]:
        """Return the range of a slider, wider only while its value lies beyond it."""
        low, high = self._session.slider_range(name)
        if name == "max_token":
            low, high = FEWEST_TOKENS, self.longest or LONGEST_CONTEXT
        return [low, high] if value is None else [min(low, value), max(high, value)]

    def _levels(self) -> list[list[str]]:
        levels, present = self._session.thinking_levels, self._session.settings.thinking
        listed = [level for level in THINKING_LEVELS if level in levels or level == present]
        return [
            ["", "server default"],
            *([level, level if level in levels else f"{level} (not this model's)"] for level in listed),
        ]

    def _refuse(self, name: str, typed: Any, error: Exception) -> None:
        with self._lock:
            kept = "" if name == "api_key" else typed if isinstance(typed, str | int | float) else ""
            self._shown.errors = {**self._shown.errors, name: {"typed": kept, "text": reason(name, error)}}

    def _accept(self, name: str) -> None:
        with self._lock:
            if name in self._shown.errors:
                self._shown.errors = {key: value for key, value in self._shown.errors.items() if key != name}

    def _follow(self, change: Any) -> None:
        try:
            self._accept(change["name"])
            self.show()
        except Exception as error:  # noqa: BLE001 - whoever set the setting must not suffer from a widget
            self._reporter.report(error)


def read(name: str, value: Any) -> Any:
    """Return a setting's value from what a page sends: text, a number, a truth value, or None.

    :raises ValueError: for what is none of the setting's.
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
        found = float(value)
        if not FIELDS[name]["whole"]:
            return found
        if found != int(found):
            raise ValueError("isn't whole")
        return int(found)
    if name == "seed":
        return int(value)
    if name == "stop":
        return stops(str(value))
    return str(value) if name == "system" else str(value).strip()


def reason(name: str, error: Exception) -> str:
    """Say why a value is refused, in the words of the panel."""
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
    return f"{each['label']} can't take that."


def stops(lines: str) -> list[str] | None:
    """Read stop strings, one a line; ``\\n``, ``\\t`` and ``\\\\`` are what they are in Python."""
    found = []
    for line in lines.split("\n"):
        text = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")
        found += [text] if text else []
    return found or None


def stop_lines(texts: list[str] | None) -> str:
    """Return stop strings as :func:`stops` reads them."""
    lines = []
    for text in texts or []:
        for plain, escaped in ESCAPES:
            text = text.replace(plain, escaped)
        lines.append(text)
    return "\n".join(lines)
