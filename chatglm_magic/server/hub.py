"""Fetches a GGUF file from a Hugging Face repository, through huggingface_hub with its own progress bar.

`HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and the other variables of huggingface_hub are its own matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .sources import HubModel, ModelError, ModelFile, local_file

Report = Callable[[str, int, int | None], None]
"""Is told the file's name, the bytes there so far, and how many there will be (None: not known)."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_PREFERRED = ("Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_0")


def fetch(model: HubModel, report: Report) -> ModelFile:
    """Return the model's file, downloaded unless it is in the cache already. Raises ModelError.

    Where the hub can't be asked, what is in the cache is taken.
    """
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise ModelError(f'{error}. Install the extra: pip install "chatglm-magic[local]"') from error
    try:
        names = [file.rfilename for file in HfApi().model_info(model.repo, timeout=15).siblings or []]
        paths = [hf_hub_download(model.repo, name, tqdm_class=_bar(name, report)) for name in choose(names, model)]
    except ModelError:
        raise
    # what a lost network raises depends on its release: requests', httpx's or httpx2's own errors
    except Exception as error:
        paths = _cached(model)
        if not paths:
            said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ModelError(f"{model.repo!r} could not be fetched: {said[:300]}") from error
    file = local_file(Path(paths[0]))
    # the cache keeps a link with the file's name to a file named by its checksum
    return ModelFile(file.path, _SHARD.sub("", Path(paths[0]).name).removesuffix(".gguf"))


def _cached(model: HubModel) -> list[str]:
    """Return the files of the model that an earlier download left in the cache, whole; or none."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model.repo, local_files_only=True))
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
        return [str(folder / name) for name in choose(names, model)]
    except (OSError, ValueError):  # nothing there; ModelError is a ValueError
        return []


def choose(names: list[str], model: HubModel) -> list[str]:
    """Return the files to fetch of those in the repository, the one to load first. Raises ModelError."""
    found = sorted(name for name in names if name.lower().endswith(".gguf") and "mmproj" not in name.lower())
    if not found:
        raise ModelError(f"{model.repo!r} has no GGUF file. Look for a repository whose name ends in -GGUF.")
    first = [name for name in found if not _SHARD.search(name) or "-00001-of-" in name]
    if model.wanted:
        first = [n for n in first if n == model.wanted] or [n for n in first if model.wanted.lower() in n.lower()]
    elif len(first) > 1:
        best = [name for part in _PREFERRED for name in first if part.lower() in name.lower()]
        first = best[:1] or first
    if len(first) != 1:
        listed = ", ".join((first or found)[:8])
        raise ModelError(f"Which file of {model.repo!r}? Write {model.repo}:PART with a part of one of: {listed}")
    if not _SHARD.search(first[0]):
        return first
    stem = _SHARD.sub("", first[0])
    return [name for name in found if _SHARD.search(name) and _SHARD.sub("", name) == stem]


def _bar(name: str, report: Report) -> Any:
    """Return huggingface_hub's own progress bar, which tells `report` as well."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        # counts for itself: without a terminal tqdm is switched off and counts nothing
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)  # type: ignore[no-untyped-call,unused-ignore]
            self._there = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            self._there += int(n or 0)
            report(name, self._there, int(self.total) if self.total else None)
            return shown

    return Bar
