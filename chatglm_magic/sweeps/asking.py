"""One question of a sweep: planned before any is asked, asked outside the conversation, never an exception."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..client.address import bare
from ..errors import ChatGLMError
from ..parameters import PARAMETERS
from ..session.draft import Draft
from ..session.settings import SHARED
from ..values import Status, Turn
from .grid import Setting, same, shown

if TYPE_CHECKING:
    from ..llm import ChatGLM
    from ..llm.request_plan import RequestPlan
    from ..session import Session

PINNED = tuple(row.name for row in PARAMETERS.values() if row.in_body)
"""Fields that stay as they were when the sweep began, also when it is resumed; the server may be another one."""


class Plans:
    """What each setting's questions are, settled and checked before the first one is sent.

    :param pinned: the model of an earlier run, whose parameters hold.
    :raises ChatGLMError: for a value that no server would take, or an address that can't be asked.
    """

    def __init__(
        self, session: Session, prompt: str, settings: Sequence[Setting], pinned: ChatGLM | None = None
    ) -> None:
        session.preview("", history=False)  # takes over what other handles have set
        self.llm = _own_model(session.llm, pinned)
        self._plans = [self.llm.plan(prompt, **setting) for setting in settings]
        self._current: tuple[int, RequestPlan] | None = None
        self.bases = [self._base(*pair) for pair in zip(self._plans, settings, strict=True)]

    def base(self, cell: int, prompt: str) -> Turn:
        """Return the turn of a cell's questions as it stands before it is asked."""
        return replace(self.bases[cell % len(self.bases)], prompt=prompt)

    async def answered(self, draft: Draft, cell: int, sample: int) -> Turn:
        """Ask; return the turn, whatever became of it. What was received of a cancelled one is in its draft."""
        if self._current is None or self._current[0] != cell:  # a cell's samples follow each other
            self._current = cell, self._plans[cell % len(self._plans)].with_question(prompt=draft.base.prompt)
        plan = self._current[1].with_sample(sample)
        try:
            async with aclosing(self.llm.astream_plan(plan)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    draft.take(chunk.text, chunk.generation_info or {})
        except ChatGLMError as error:
            return _failed(draft, str(error), error.partial)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a callback of the user's that failed costs one cell
            return _failed(draft, repr(error), "")
        return draft.turn("complete")

    def close(self) -> None:
        """Close the connections."""
        self.llm.close()

    def _base(self, plan: RequestPlan, setting: Setting) -> Turn:
        wished = [n for n in SHARED if n in self.llm.model_fields_set and PARAMETERS[n].recorded]
        return Turn(
            prompt=plan.prompt,
            kind="sweep",
            outside=True,
            endpoint=bare(plan.call.url),
            dialect=plan.dialect,
            model=plan.sent.get("model"),
            system=plan.question.params.get("system"),
            asked={name: getattr(self.llm, name) for name in wished} | setting,
            sent=plan.sent,
            changed=plan.changed,
        )


def _own_model(llm: ChatGLM, pinned: ChatGLM | None) -> ChatGLM:
    """Return a copy of the session's model for one run: later changes do not touch it, it has no conversation."""
    update: dict[str, Any] = {"history": [], "with_history": False}
    if pinned is not None:
        update |= {name: getattr(pinned, name) for name in PINNED}
    own = llm.model_copy(update=update)
    own.model_fields_set.discard("history")
    if pinned is not None:
        for name in PINNED:
            if name not in pinned.model_fields_set:
                own.model_fields_set.discard(name)
    return own


def _failed(draft: Draft, error: str, partial: str) -> Turn:
    status: Status = "incomplete" if draft.text or partial else "error"
    return draft.turn(status, error, partial)


def request_of(turn: Turn) -> dict[str, Any]:
    """Return all that can change an answer besides the prompt; never the address, which may be another one."""
    return {"dialect": turn.dialect, "system": turn.system, **turn.sent}


def key_of(turn: Turn) -> str:
    """Return a text that is the same for the same request."""
    return json.dumps([turn.prompt, request_of(turn)], sort_keys=True, default=str)


def refuse_another(now: Turn, then: Turn) -> None:
    """Refuse to mix answers to different requests in one cell.

    :param now: what would be asked; ``then`` what an answer that is there was asked with.
    :raises ChatGLMError: which names what differs.
    """
    new, old = request_of(now), request_of(then)
    for name in (*old, *new):
        if not same(new.get(name), old.get(name)):
            raise ChatGLMError(
                f"The answers that are there were asked with {name} {shown(old.get(name))}, now it is "
                f"{shown(new.get(name))}: set it back, or begin a new sweep.",
                kind="mixed",
            )
