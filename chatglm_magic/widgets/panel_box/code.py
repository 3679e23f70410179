"""A panel's state as code: a magic, Python for this notebook, or a script; never with a key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from ...credentials import API_KEY_PATTERN  # a magic's line refuses it, the body of a cell takes it
from ...parameters import PARAMETERS, parameter_names
from ...session import Session

BARE = re.compile(r"[\w./:@%+~-]+", re.ASCII)


@dataclass(frozen=True)
class State:
    """What a panel would ask now; ``values`` holds what is set, by the names of ``ChatGLM``'s fields.

    ``own`` says that the server wants the session's key, as its own local one does: no code may hold it, so the
    code for this notebook asks through the session. ``is_local`` says that it is the one of ``%chatglm_serve``,
    whose model is ``local_model``, or the built-in one.
    """

    prompt: str
    place: dict[str, Any]
    values: dict[str, Any]
    with_history: bool
    history: tuple[tuple[str, str], ...]
    own: bool = False
    is_local: bool = False
    local_model: str | None = None


def state(session: Session, prompt: str, *, again: bool = False) -> State:
    """Return what a panel would ask now.

    :param again: whether the prompt is the conversation's last, asked once more.
    """
    settings, asked = session.settings, session.explicit_parameters()
    place = {"endpoint_url": settings.endpoint_url} | ({"dialect": settings.dialect} if settings.dialect else {})
    values = {name: asked.get(name) for name in parameter_names("sampling", "more", "request")}
    kept = {name: value for name, value in values.items() if value is not None and value != []}
    kept |= {name: None for name in parameter_names("sampling") if getattr(settings, name) is None}
    pairs = session.llm.history if settings.with_history else []
    if again and pairs and pairs[-1][0] == prompt:
        pairs = pairs[:-1]
    url, model = session.served or ("", None)
    return State(
        prompt,
        place,
        kept,
        settings.with_history,
        tuple((q, a) for q, a in pairs),
        own=session.llm.api_key is not None,
        is_local=url == settings.endpoint_url,
        local_model=model,
    )


def as_magic(state: State) -> str:
    """Return one cell that asks the same; in the clearest of the forms that carry every character of it."""
    options, settings = _options(state)
    line = " ".join(options)
    head = "".join(f"get_session().settings.{name} = {value!r}\n" for name, value in settings.items())
    if head:
        head = f"from chatglm_magic import get_session\n\n{head}"
    if not head and _fits_line(state.prompt):
        dashes = "-- " if state.prompt.startswith("-") else ""
        return f"%chatglm {line} {dashes}{state.prompt}"
    if not head and _fits_cell(state.prompt):
        return f"%%chatglm {line}\n{state.prompt}"
    if state.prompt.endswith("\n"):  # a cell's body ends without blank lines
        return f"{head}get_ipython().run_line_magic('chatglm', {f'{line} -- {state.prompt}'!r})"
    return f"{head}get_ipython().run_cell_magic('chatglm', {line!r}, {state.prompt!r})"


def as_python(state: State) -> str:
    """Return Python that asks the same here; of a server that wants the session's key, through the session."""
    if not state.own:
        return f"from chatglm_magic import ChatGLM\n\n{_asking(state, _keywords(state.place))}"
    values = {name: value for name, value in state.values.items() if value is not None}
    values |= {"history": [list(pair) for pair in state.history], "with_history": False}
    body = "\n".join([f"    {_literal(state.prompt)},", *_keywords(values)])
    return f"from chatglm_magic import get_session\n\nprint(get_session().llm.invoke(\n{body}\n))"


def as_script(state: State) -> str:
    """Return a program that asks the same without this notebook: it starts a local server of its own where this
    one would end with the kernel, and takes a key from the environment."""
    if state.is_local:
        asking = _asking(state, ["    endpoint_url=server.url,", "    api_key=server.token,"])
        model = "" if state.local_model is None else _plain(state.local_model)
        start = f"with LocalServer({model}) as server:"
        return f"from chatglm_magic import ChatGLM, LocalServer\n\n{start}\n{indent(asking, '    ')}"
    key = "# Reads its key from the variable CHATGLM_API_KEY.\n" if state.own else ""
    return f"{key}from chatglm_magic import ChatGLM\n\n{_asking(state, _keywords(state.place))}"


def _asking(state: State, place: list[str]) -> str:
    """Return lines that make a ``ChatGLM`` for a place and ask it."""
    lines = [*place, *_keywords(state.values | ({"with_history": True} if state.with_history else {}))]
    if state.history:
        lines += ["    history=[", *(f"        [{_plain(q)}, {_plain(a)}]," for q, a in state.history), "    ],"]
    body = "\n".join(lines)
    return f"llm = ChatGLM(\n{body}\n)\nprint(llm.invoke({_literal(state.prompt)}))"


def _keywords(values: dict[str, Any]) -> list[str]:
    return [f"    {name}={_literal(value)}," for name, value in values.items()]


def _options(state: State) -> tuple[list[str], dict[str, Any]]:
    """Return the options of a magic, and apart from them what no option can carry."""
    options, settings = [], {}
    for name, value in (state.values if state.own else {**state.place, **state.values}).items():
        if name == "dialect":
            options.append(f"-k dialect={value}")
            continue
        texts = value if name == "stop" else ["none" if value is None else str(value)]
        quoted = [_quoted(text, escapes=name in ESCAPED) for text in texts]
        if None in quoted:
            settings[name] = value
        else:
            options += [f"{PARAMETERS[name].flag} {text}" for text in quoted]
    options += [] if state.with_history else ["--no-history"]
    if any(mark in text for text in (state.prompt, *options) for mark in ("{{", "｛｛")):
        options.append("--raw")
    return options, settings


ESCAPED = ("stop", "system")
"""Options in whose values a backslash means what it does in Python."""


def _quoted(text: str, *, escapes: bool) -> str | None:
    """Return an option's value as a magic reads it, or None if no quotation marks can hold it."""
    if not _is_typed(text) or API_KEY_PATTERN.search(text) or text == "--":  # which argparse leaves out
        return None
    if BARE.fullmatch(text):
        return text
    if escapes:
        text = text.replace("\\", "\\\\")
    return next((f"{mark}{text}{mark}" for mark in "\"'" if mark not in text), None)


def _is_typed(text: str) -> bool:
    """Tell whether a text is one line of characters that nothing on the way changes."""
    return text.replace("\u3000", " ").isprintable()


def _fits_line(prompt: str) -> bool:
    simple = _is_typed(prompt) and prompt == prompt.strip() and not API_KEY_PATTERN.search(prompt)
    return simple and not prompt.endswith("\\") and len(prompt) <= 100


def _fits_cell(prompt: str) -> bool:
    """Tell whether a cell's body can be the prompt: it has no blank lines at its end, and no strange line ends."""
    return prompt == prompt.rstrip("\n") and all(_is_typed(line) for line in _tabs(prompt.split("\n")))


def _tabs(lines: Iterable[str]) -> Iterable[str]:
    return (line.replace("\t", " ") for line in lines)


def _literal(value: Any) -> str:
    """Return a value as Python; a text of several lines as one literal a line."""
    if not isinstance(value, str) or "\n" not in value.rstrip("\n"):
        return _plain(value)
    lines = "".join(f"        {_plain(line)}\n" for line in value.splitlines(keepends=True))
    return f"(\n{lines}    )"


def _plain(value: Any) -> str:
    """Return a literal with the quotation marks that most people write."""
    if isinstance(value, str):
        inner = repr("'" + value)  # a text with ' in it gets double quotation marks, unless it has both kinds
        return f'"{inner[2:-1]}"' if inner[0] == '"' else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return repr(value)
