"""Thinking levels: those of each model family, and the keys that request them from each server.

A level that a model doesn't have is sent as the nearest one that it has, and reported as a change. Sources: the
chat templates of GLM-4.5 to GLM-5.3 and the servers' documentation; GLM-5.2's template silently turns ``low`` and
``medium`` into its maximum (sgl-project/sglang#28454), and GLM-5.3 can't stop thinking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..parameters import THINKING_LEVELS
from ..values import Change

Server = Literal["zai", "ollama", "dashscope", "siliconflow", "openrouter"]
"""Servers that need different ranges or keys, and can be detected by their URL."""

SERVER_TITLES: dict[str | None, str] = {
    "zai": "Z.ai",
    "ollama": "Ollama",
    "dashscope": "DashScope",
    "siliconflow": "SiliconFlow",
    "openrouter": "OpenRouter",
}
"""Display names of these servers."""


class Family(NamedTuple):
    """A family of models with the same thinking levels.

    :param title: the display name.
    :param nearest: for each level that the models don't have, the nearest one that they have.
    """

    title: str
    nearest: Mapping[str, str]

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that these models have, in ascending order."""
        return tuple(level for level in THINKING_LEVELS if level not in self.nearest)


ON_OFF_ONLY = {"low": "on", "high": "on", "max": "on"}
GLM_VERSION = re.compile(r"glm-?(\d)(?:\.(\d))?(?!\.?\d)")


def family_of(model: str | None) -> Family | None:
    """Return a model's family by its name, which may have a prefix or name a quantized version; None if unknown.

    .. code-block:: python

        family_of("zai-org/GLM-5.2-FP8").levels
    """
    parts = reversed((model or "").lower().split("/"))  # in a path to a hub's snapshot, the name is further left
    match = next(filter(None, map(GLM_VERSION.search, parts)), None)
    if match is None:
        return None
    version = int(match[1]), int(match[2] or 0)
    title = f"GLM-{match[1]}" + (f".{match[2]}" if match[2] else "")
    if (4, 5) <= version <= (5, 1):
        return Family(title, ON_OFF_ONLY)
    if version == (5, 2):
        return Family(title, {"low": "high"})
    if version == (5, 3):
        return Family(title, {"off": "low"})
    return None


def levels_of(model: str | None, server: Server | None) -> tuple[str, ...]:
    """Return the levels of a model on a server, in ascending order; all levels if the model is unknown."""
    family = family_of(model)
    return tuple(level for level in THINKING_LEVELS if _nearest(level, family, server) == level)


def nearest_level(requested: str, model: str | None, server: Server | None) -> tuple[str, str]:
    """Return the level to send for a requested one, and why it differs; empty if it doesn't."""
    family = family_of(model)
    level = _nearest(requested, family, server)
    if level == requested:
        return requested, ""
    if family is not None and requested == "off":
        return level, f"{family.title} always thinks"
    if family is not None and family.nearest.get(requested) == level:
        return level, f"{family.title} has {_join_levels(family.levels)}"
    return level, f"{SERVER_TITLES[server]} has {_join_levels(levels_of(model, server))}"


def _nearest(requested: str, family: Family | None, server: Server | None) -> str:
    level = family.nearest.get(requested, requested) if family is not None else requested
    served = SERVER_LEVELS.get(server, {}).get(level, level)
    return served if family is None or served in family.levels else level


SERVER_LEVELS: dict[str | None, dict[str, str]] = {
    "ollama": {"max": "high"},
    "dashscope": ON_OFF_ONLY,
    "siliconflow": ON_OFF_ONLY,
    "openrouter": {"max": "high"},
}
"""For each level that a server doesn't support, whatever the model, the nearest one that it does."""


def _join_levels(levels: Sequence[str]) -> str:
    """Return levels as text: the levels of effort, or ``on`` and ``off`` if there are none."""
    efforts = [level for level in levels if level not in ("off", "on")]
    return " and ".join(efforts or [level for level in ("on", "off") if level in levels])


def thinking_keys(
    requested: str, model: str | None, server: Server | None
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the keys of the body for a thinking level, and the change if another level is sent.

    :param requested: one of :data:`chatglm_magic.parameters.THINKING_LEVELS`.
    """
    level, why = nearest_level(requested, model, server)
    changed = (Change(f"thinking={requested} sent as {level}: {why}", "thinking"),) if why else ()
    return _level_keys(level, family_of(model), server), changed


def _level_keys(level: str, family: Family | None, server: Server | None) -> dict[str, Any]:
    has_effort = level not in ("on", "off")
    effort = {"reasoning_effort": level} if has_effort else {}
    if server == "zai":
        if family is not None and "off" in family.nearest and has_effort:
            return effort
        return {"thinking": {"type": "disabled" if level == "off" else "enabled"}} | effort
    if server == "ollama":
        return {"reasoning_effort": "none"} if level == "off" else effort
    if server in ("dashscope", "siliconflow"):
        return {"enable_thinking": level != "off"}
    if server == "openrouter":
        return {"reasoning": {"effort": level} if has_effort else {"enabled": level == "on"}}
    # vLLM, SGLang and llama.cpp pass this to the chat template; templates with levels read them there.
    switches: dict[str, Any] = {"enable_thinking": level != "off"}
    if family is not None:
        switches |= effort
    return {"chat_template_kwargs": switches} | effort
