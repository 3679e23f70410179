"""A panel's request as code: a magic, Python for this notebook, or a script. It never contains an API key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from ...credentials import API_KEY_PATTERN  # a magic's line refuses such texts, a cell's body accepts them
from ...parameters import PARAMETERS, parameter_names
from ...session import Session

UNQUOTED = re.compile(r"[\w./:@%+~-]+", re.ASCII)


@dataclass(frozen=True)
class PanelRequest:
    """The request that a panel would send now; ``parameters`` are the explicit ones, by ``ChatGLM``'s field names.

    :ivar needs_session_key: whether the session has a key, as for its local server. Code must not contain it, so
        code for this notebook sends the request through the session.
    :ivar is_local: whether the server is that of ``%chatglm_serve``, with ``local_model`` or the built-in model.
    """

    prompt: str
    endpoint: dict[str, Any]
    parameters: dict[str, Any]
    with_history: bool
    history: tuple[tuple[str, str], ...]
    needs_session_key: bool = False
    is_local: bool = False
    local_model: str | None = None


def read_request(session: Session, prompt: str, *, repeated: bool = False) -> PanelRequest:
    """Return the request that a panel would send now.

    :param repeated: whether the prompt is the conversation's last one, which then isn't part of its own history.
    """
    settings, explicit = session.settings, session.explicit_parameters()
    endpoint = {"endpoint_url": settings.endpoint_url}
    if settings.dialect:
        endpoint["dialect"] = settings.dialect
    values = {name: explicit.get(name) for name in parameter_names("sampling", "more", "request")}
    parameters = {name: value for name, value in values.items() if value is not None and value != []}
    parameters |= {name: None for name in parameter_names("sampling") if getattr(settings, name) is None}
    pairs = session.llm.history if settings.with_history else []
    if repeated and pairs and pairs[-1][0] == prompt:
        pairs = pairs[:-1]
    url, model = session.local_server or ("", None)
    return PanelRequest(
        prompt,
        endpoint,
        parameters,
        settings.with_history,
        tuple((q, a) for q, a in pairs),
        needs_session_key=session.llm.api_key is not None,
        is_local=url == settings.endpoint_url,
        local_model=model,
    )


def as_magic(request: PanelRequest) -> str:
    """Return the request as one cell, in the clearest form that preserves every character."""
    options, settings = _magic_options(request)
    line = " ".join(options)
    head = "".join(f"get_session().settings.{name} = {value!r}\n" for name, value in settings.items())
    if head:
        head = f"from chatglm_magic import get_session\n\n{head}"
    if not head and _fits_line(request.prompt):
        dashes = "-- " if request.prompt.startswith("-") else ""
        return f"%chatglm {line} {dashes}{request.prompt}"
    if not head and _fits_cell(request.prompt):
        return f"%%chatglm {line}\n{request.prompt}"
    if request.prompt.endswith("\n"):  # the body of a cell can't end with blank lines
        return f"{head}get_ipython().run_line_magic('chatglm', {f'{line} -- {request.prompt}'!r})"
    return f"{head}get_ipython().run_cell_magic('chatglm', {line!r}, {request.prompt!r})"


def as_python(request: PanelRequest) -> str:
    """Return the request as Python for this notebook, sent through the session if that has a key."""
    if not request.needs_session_key:
        return f"from chatglm_magic import ChatGLM\n\n{_llm_code(request, _keyword_lines(request.endpoint))}"
    values = {name: value for name, value in request.parameters.items() if value is not None}
    values |= {"history": [list(pair) for pair in request.history], "with_history": False}
    body = "\n".join([f"    {_python_literal(request.prompt)},", *_keyword_lines(values)])
    return f"from chatglm_magic import get_session\n\nprint(get_session().llm.invoke(\n{body}\n))"


def as_script(request: PanelRequest) -> str:
    """Return the request as a program that runs without this notebook.

    It starts a local server of its own if the panel uses one, and reads the key from the environment.
    """
    if request.is_local:
        code = _llm_code(request, ["    endpoint_url=server.url,", "    api_key=server.token,"])
        model = "" if request.local_model is None else _one_line_literal(request.local_model)
        start = f"with LocalServer({model}) as server:"
        return f"from chatglm_magic import ChatGLM, LocalServer\n\n{start}\n{indent(code, '    ')}"
    key = "# Reads its key from the variable CHATGLM_API_KEY.\n" if request.needs_session_key else ""
    return f"{key}from chatglm_magic import ChatGLM\n\n{_llm_code(request, _keyword_lines(request.endpoint))}"


CODE_FORMS = {"magic": as_magic, "python": as_python, "script": as_script}
CODE_MENU = [["magic", "Copy as magic"], ["python", "Copy as Python"], ["script", "Copy as a script"]]


def _llm_code(request: PanelRequest, endpoint: list[str]) -> str:
    """Return lines that create a ``ChatGLM`` for an endpoint and send the prompt."""
    lines = [*endpoint, *_keyword_lines(request.parameters)]
    if request.with_history:
        lines.append("    with_history=True,")
    if request.history:
        pairs = [f"        {_one_line_literal(pair)}," for pair in request.history]
        lines += ["    history=[", *pairs, "    ],"]
    body = "\n".join(lines)
    return f"llm = ChatGLM(\n{body}\n)\nprint(llm.invoke({_python_literal(request.prompt)}))"


def _keyword_lines(values: dict[str, Any]) -> list[str]:
    return [f"    {name}={_python_literal(value)}," for name, value in values.items()]


def _magic_options(request: PanelRequest) -> tuple[list[str], dict[str, Any]]:
    """Return the options of a magic, and separately the settings that no option can express."""
    options, settings = [], {}
    endpoint = {} if request.needs_session_key else request.endpoint
    for name, value in {**endpoint, **request.parameters}.items():
        if name == "dialect":
            options.append(f"-k dialect={value}")
            continue
        texts = value if name == "stop" else ["none" if value is None else str(value)]
        quoted = [_quote_option(text, escapes=name in OPTIONS_WITH_ESCAPES) for text in texts]
        if None in quoted:
            settings[name] = value
        else:
            options += [f"{PARAMETERS[name].flag} {text}" for text in quoted]
    options += [] if request.with_history else ["--no-history"]
    if any(mark in text for text in (request.prompt, *options) for mark in ("{{", "｛｛")):
        options.append("--raw")
    return options, settings


OPTIONS_WITH_ESCAPES = ("stop", "system")
"""Options whose values may contain Python's backslash escapes."""


def _quote_option(text: str, *, escapes: bool) -> str | None:
    """Return an option's value as a magic parses it, or None if it can't be quoted."""
    if not _is_plain_line(text) or API_KEY_PATTERN.search(text) or text == "--":  # argparse drops it
        return None
    if UNQUOTED.fullmatch(text):
        return text
    if escapes:
        text = text.replace("\\", "\\\\")
    return next((f"{mark}{text}{mark}" for mark in "\"'" if mark not in text), None)


def _is_plain_line(text: str) -> bool:
    """Return whether a text is one line of characters that a magic's line preserves."""
    return text.replace("\u3000", " ").isprintable()


def _fits_line(prompt: str) -> bool:
    simple = _is_plain_line(prompt) and prompt == prompt.strip() and not API_KEY_PATTERN.search(prompt)
    return simple and not prompt.endswith("\\") and len(prompt) <= 100


def _fits_cell(prompt: str) -> bool:
    """Return whether the prompt can be a cell's body: no blank lines at its end, and no unusual line ends."""
    lines = prompt.replace("\t", " ").split("\n")
    return prompt == prompt.rstrip("\n") and all(_is_plain_line(line) for line in lines)


def _python_literal(value: Any) -> str:
    """Return a value as Python code; a text with several lines as one literal per line."""
    if not isinstance(value, str) or "\n" not in value.rstrip("\n"):
        return _one_line_literal(value)
    lines = "".join(f"        {_one_line_literal(line)}\n" for line in value.splitlines(keepends=True))
    return f"(\n{lines}    )"


def _one_line_literal(value: Any) -> str:
    """Return a literal, with double quotation marks where possible."""
    if isinstance(value, str):
        inner = repr("'" + value)  # the ' makes repr use double quotation marks, unless the text has some
        return f'"{inner[2:-1]}"' if inner[0] == '"' else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_one_line_literal(item) for item in value)}]"
    return repr(value)
