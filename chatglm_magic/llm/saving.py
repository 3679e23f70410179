"""A ``ChatGLM`` as a JSON or YAML file: the fields that were set, without secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from ..errors import ParameterError
from ..values import Answer
from ..wire.body import sanitize_line

OMITTED_FIELDS = ("api_key", "headers", "cache", "callbacks", "custom_get_token_ids")
"""Secrets, and objects that can't be saved."""


def _represent(dumper: Any, answer: Answer) -> Any:
    """Represent an answer as its text; YAML refuses unknown classes."""
    return dumper.represent_str(str(answer))


for _name in ("SafeDumper", "Dumper", "CSafeDumper", "CDumper"):
    if hasattr(yaml, _name):  # the last two need libyaml
        getattr(yaml, _name).add_representer(Answer, _represent)


def to_dict(llm: Any) -> dict[str, Any]:
    """Return the fields that were set, from which ``ChatGLM`` builds an equal model, and LangChain's ``_type``."""
    values = {name: getattr(llm, name) for name in sorted(llm.model_fields_set) if name not in OMITTED_FIELDS}
    history = getattr(llm, "history", None)  # if changed in place, it isn't among the fields that were set
    values |= {"history": history} if history else {}
    values.pop("metadata", None)  # LangChain adds the versions it runs under, which don't belong to the model
    metadata = {name: value for name, value in (llm.metadata or {}).items() if name != "lc_versions"}
    return {"_type": llm._llm_type} | values | ({"metadata": metadata} if metadata else {})


def save_model(llm: Any, path: Path) -> None:
    """Write a model to a file that only its owner may read, since it contains the conversation.

    :raises ParameterError: if the file's name doesn't end in .json, .yaml or .yml, or a value can't be saved.
    """
    text = _serialize(to_dict(llm), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _serialize(values: dict[str, Any], path: Path) -> str:
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
