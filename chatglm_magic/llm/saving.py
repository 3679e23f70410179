"""A ``ChatGLM`` as a JSON or YAML file: what was set, without secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from ..errors import ParameterError
from ..values import Answer
from ..wire.body import sanitize_line

LEFT_OUT = ("api_key", "headers", "cache", "callbacks", "custom_get_token_ids")
"""Secrets, and what is code or a connection rather than a value."""


def _represent(dumper: Any, answer: Answer) -> Any:
    """Write an answer as its text: YAML refuses classes that it doesn't know."""
    return dumper.represent_str(str(answer))


for _name in ("SafeDumper", "Dumper", "CSafeDumper", "CDumper"):
    if hasattr(yaml, _name):  # the last two need libyaml
        getattr(yaml, _name).add_representer(Answer, _represent)


def saved(llm: Any) -> dict[str, Any]:
    """Return the fields that were set, from which ``ChatGLM`` builds an equal one, and LangChain's ``_type``."""
    found = {name: getattr(llm, name) for name in sorted(llm.model_fields_set) if name not in LEFT_OUT}
    history = getattr(llm, "history", None)  # changed in place, it isn't among the fields that were set
    found |= {"history": history} if history else {}
    found.pop("metadata", None)  # LangChain adds the versions it runs under; they are not the model's
    told = {name: value for name, value in (llm.metadata or {}).items() if name != "lc_versions"}
    return {"_type": llm._llm_type} | found | ({"metadata": told} if told else {})


def write(llm: Any, path: Path) -> None:
    """Write a model to a file that only its owner may read: the conversation is in it.

    :raises ParameterError: for a file whose name ends neither in .json nor in .yaml or .yml, and for a value
        that these have no word for.
    """
    text = _text(saved(llm), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _text(values: dict[str, Any], path: Path) -> str:
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise ParameterError(
            f"'{sanitize_line(path.name, 80)}' must be json or yaml: let it end in .json or .yaml."
        )
    try:
        if path.suffix == ".json":
            return json.dumps(values, ensure_ascii=False, indent=4)
        text: str = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise ParameterError(f"A value can't be saved: {error}. Look at model_kwargs and metadata.") from None
    return text
