"""The command line and environment of child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# An allow-list, so that other services' keys, LD_PRELOAD and the like aren't passed on.
_NAMES_TEXT = (
    "PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR TEMP TMP VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME "
    "PYTHONPYCACHEPREFIX PYTHONDONTWRITEBYTECODE LD_LIBRARY_PATH DYLD_LIBRARY_PATH OMP_NUM_THREADS "
    "CUDA_VISIBLE_DEVICES SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT USERPROFILE APPDATA LOCALAPPDATA "
    "PROGRAMDATA"
)
_NAMES = frozenset(_NAMES_TEXT.split())
_PREFIXES = ("LC_", "XDG_")
# What downloads need in addition; the engine never downloads.
_NETWORK_TEXT = "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE"
_NETWORK = frozenset(_NETWORK_TEXT.split())
_SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


def child_env(source: Mapping[str, str], *, network: bool) -> dict[str, str]:
    """Return the variables of ``source`` for a child; with ``network`` also ``HF_*``, HF_TOKEN and proxies."""
    return {name: value for name, value in source.items() if _is_allowed(name.upper(), network)}


def _is_allowed(name: str, network: bool) -> bool:
    if network and (name == "HF_TOKEN" or name in _NETWORK):
        return True
    if name.endswith(_SECRET_ENDINGS):
        return False
    return name in _NAMES or name.startswith(_PREFIXES) or (network and name.startswith("HF_"))


def child_command(module: str) -> list[str]:
    """Return the command that runs ``module.main()`` in a new interpreter.

    ``-P`` keeps the working directory off the import path, so that a user's ``random.py`` beside a notebook
    doesn't replace the standard one. The package's folder is appended to the path instead.
    """
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.append({root!r}); from {module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code]


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
