"""Which model a name means: the built-in one, a GGUF file, or a Hugging Face repository with one."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

_HOME = Path(__file__).parent / "model"
_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(:[\w./-]{1,200})?")


class ModelError(ValueError):
    """A model can't be had; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file on this machine."""

    path: Path
    name: str
    """What `/v1/models` and every reply call it."""
    builtin: bool = False


@dataclass(frozen=True, slots=True)
class HubModel:
    """A GGUF file to be fetched from a Hugging Face repository."""

    repo: str
    """`owner/name`"""
    wanted: str
    """A file name, a part of one such as `Q8_0`, or empty."""


def name_of(model: ModelFile | HubModel) -> str:
    """Return what to call a model before it is there."""
    return model.name if isinstance(model, ModelFile) else model.repo


def find_model(text: str | None) -> ModelFile | HubModel:
    """Return what `text` means; without a text the built-in model.

    A path that exists is a file, else `owner/name` or `owner/name:part` is a repository.
    Raises ModelError.
    """
    if text is None:
        return builtin_model()
    path = Path(os.path.expanduser(text))
    if _exists(path):
        return local_file(path)
    if _REPO.fullmatch(text) and not text.startswith(".") and not text.endswith(".gguf"):
        repo, _, wanted = text.partition(":")
        return HubModel(repo, wanted)
    if re.fullmatch(r"[\w.-]+/[\w.-]+:.+\.gguf", text):
        repo, _, wanted = text.partition(":")
        return HubModel(repo, wanted)
    raise ModelError(f"There is no file {text!r}. Give the path of a GGUF file, or owner/name of a repository.")


def local_file(path: Path) -> ModelFile:
    """Return `path` as a model, its first bytes checked. Raises ModelError."""
    if path.is_dir():
        raise ModelError(f"{str(path)!r} is a directory. Give the GGUF file inside it.")
    if not path.is_file():
        raise ModelError(f"{str(path)!r} is not an ordinary file. Give the path of a GGUF file.")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{str(path)!r} can't be read: {error.strerror}.") from error
    if magic != b"GGUF":
        what = "is empty" if not magic else f"is no GGUF file (it begins with {magic!r}, not b'GGUF')"
        raise ModelError(f"{str(path)!r} {what}. Give the path of a GGUF file.")
    return ModelFile(path.resolve(), path.stem)


def builtin_model(home: Path = _HOME) -> ModelFile:
    """Return the built-in model, its checksum compared: llama.cpp doesn't notice damaged weights.

    Raises ModelError.
    """
    try:
        facts = json.loads((home / "glm-tiny.json").read_text("utf-8"))
        path = home / "glm-tiny.gguf"
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        name, expected = str(facts["name"]), str(facts["sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The built-in model is missing or can't be read ({error}). "
            "Install the package again: pip install --force-reinstall chatglm-magic"
        ) from error
    if found != expected:
        raise ModelError(
            f"The built-in model is damaged (SHA-256 {found[:12]}… instead of {expected[:12]}…). "
            "Install the package again: pip install --force-reinstall chatglm-magic"
        )
    return ModelFile(path, name, builtin=True)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, a NUL in it
        return False
