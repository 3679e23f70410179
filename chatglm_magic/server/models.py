"""Models: the built-in one, files and downloads.

All functions raise :class:`ModelError` if they don't find a usable model.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BUILTIN_FOLDER = Path(__file__).parent / "model"
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(:[\w./-]{1,200})?")


class ModelError(ValueError):
    """A model isn't available; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file on this machine."""

    path: Path
    name: str
    """Its name in ``/v1/models`` and in responses."""
    builtin: bool = False


@dataclass(frozen=True, slots=True)
class HubModel:
    """A GGUF file in a Hugging Face repository."""

    repo: str
    """``owner/name``"""
    file_part: str
    """A file name, a part of one such as ``Q8_0``, or empty."""


def display_name(model: ModelFile | HubModel) -> str:
    """Return the name of a model, which may not be downloaded yet."""
    return model.name if isinstance(model, ModelFile) else model.repo


def find_model(text: str | None) -> ModelFile | HubModel:
    """Return the model for a command line argument; None is the built-in model.

    :param text: an existing path, else a repository as ``owner/name`` or ``owner/name:part``.
    """
    if text is None:
        return builtin_model()
    path = Path(os.path.expanduser(text))
    if _exists(path):
        return local_model(path)
    if _REPOSITORY.fullmatch(text) and not text.startswith(".") and not text.endswith(".gguf"):
        repo, _, file_part = text.partition(":")
        return HubModel(repo, file_part)
    if re.fullmatch(r"[\w.-]+/[\w.-]+:.+\.gguf", text):
        repo, _, file_part = text.partition(":")
        return HubModel(repo, file_part)
    if re.match(r"https?://", text, re.IGNORECASE):
        raise ModelError(
            f"{text[:200]!r} is an address, and addresses are not fetched. Download the file and give its path, "
            "or name a repository as owner/name."
        )
    raise ModelError(f"There is no file {text!r}. Give the path of a GGUF file, or owner/name of a repository.")


def local_model(path: Path) -> ModelFile:
    """Return ``path`` as a model, after checking that it is a GGUF file."""
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
        what = "is empty" if not magic else f"isn't a GGUF file (it begins with {magic!r}, not b'GGUF')"
        raise ModelError(f"{str(path)!r} {what}. Give the path of a GGUF file.")
    return ModelFile(path.resolve(), path.stem)


def builtin_model(home: Path = _BUILTIN_FOLDER) -> ModelFile:
    """Return the built-in model, after comparing its checksum, since llama.cpp accepts damaged weights."""
    try:
        facts = json.loads((home / "glm-tiny.json").read_text("utf-8"))
        path = home / "glm-tiny.gguf"
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        name, expected = str(facts["name"]), str(facts["sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The built-in model is missing or can't be read ({error}). "
            "Install the package again: pip install --force-reinstall chatglm-magic"
        ) from error
    if actual != expected:
        raise ModelError(
            f"The built-in model is damaged (SHA-256 {actual[:12]}… instead of {expected[:12]}…). "
            "Install the package again: pip install --force-reinstall chatglm-magic"
        )
    return ModelFile(path, name, builtin=True)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


ReportProgress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes received so far, and their total (None if unknown)."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_HUB_ANSWERED = re.compile(r"\b40[134]\b|not found|gated|restricted", re.IGNORECASE)
"""Errors that come from the hub itself, which was therefore reached."""
_UNREACHABLE = (
    " If the hub can't be reached from here, name a mirror before (%env HF_ENDPOINT=https://…), "
    "or download the file by other means and give its path."
)
_PREFERRED_QUANTIZATIONS = ("Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_0")


def download_model(model: HubModel, report: ReportProgress) -> ModelFile:
    """Return the model's file, downloading it unless it is cached; without a connection, use the cache."""
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise ModelError(f'{error}. Install the extra: pip install "chatglm-magic[local]"') from error
    try:
        names = [file.rfilename for file in HfApi().model_info(model.repo, timeout=15).siblings or []]
        paths = [
            hf_hub_download(model.repo, name, tqdm_class=_progress_bar_class(name, report))
            for name in choose_files(names, model)
        ]
    except ModelError:
        raise
    # network errors depend on the release of huggingface_hub: those of requests, httpx or httpx2
    except Exception as error:
        paths = _cached_files(model)
        if not paths:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            advice = "" if _HUB_ANSWERED.search(reason) else _UNREACHABLE
            raise ModelError(f"{model.repo!r} could not be fetched: {reason[:300]}{advice}") from error
    file = local_model(Path(paths[0]))
    # in the cache, the file's name is a link to a file named by its checksum
    return ModelFile(file.path, _SHARD.sub("", Path(paths[0]).name).removesuffix(".gguf"))


def _cached_files(model: HubModel) -> list[str]:
    """Return the model's files if an earlier download completed them in the cache, else an empty list."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model.repo, local_files_only=True))
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
        return [str(folder / name) for name in choose_files(names, model)]
    except (OSError, ValueError):  # not cached; ModelError is a ValueError
        return []


def choose_files(names: list[str], model: HubModel) -> list[str]:
    """Return which of a repository's files to download, the one to load first."""
    candidates = sorted(name for name in names if name.lower().endswith(".gguf") and "mmproj" not in name.lower())
    if not candidates:
        raise ModelError(f"{model.repo!r} has no GGUF file. Look for a repository whose name ends in -GGUF.")
    first = [name for name in candidates if not _SHARD.search(name) or "-00001-of-" in name]
    if model.file_part:
        first = [n for n in first if n == model.file_part] or [
            n for n in first if model.file_part.lower() in n.lower()
        ]
    elif len(first) > 1:
        best = [name for part in _PREFERRED_QUANTIZATIONS for name in first if part.lower() in name.lower()]
        first = best[:1] or first
    if len(first) != 1:
        listed = ", ".join((first or candidates)[:8])
        raise ModelError(f"Which file of {model.repo!r}? Write {model.repo}:PART with a part of one of: {listed}")
    if not _SHARD.search(first[0]):
        return first
    stem = _SHARD.sub("", first[0])
    return [name for name in candidates if _SHARD.search(name) and _SHARD.sub("", name) == stem]


def _progress_bar_class(name: str, report: ReportProgress) -> Any:
    """Return huggingface_hub's progress bar with calls of ``report``."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        # counts the bytes itself: without a terminal tqdm is disabled and doesn't count
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)  # type: ignore[no-untyped-call,unused-ignore]
            self._received = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            was_displayed: bool | None = super().update(n)
            self._received += int(n or 0)
            report(name, self._received, int(self.total) if self.total else None)
            return was_displayed

    return Bar
