"""One question under way: what both the sync and the async road share."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler

from ..client.address import bare
from ..errors import ChatGLMError, Interrupted, RefusedError
from ..llm.plan import IN_BODY
from ..parameters import wire_names
from ..values import Answer, Pair, Status, Turn
from .draft import Draft, View

if TYPE_CHECKING:
    from ..llm import ChatGLM
    from .conversation import Place
    from .interrupts import Interrupts
    from .session import Session


STORED_EVERY = 1.0
"""Seconds between two savings of an answer under way: what a killed kernel may lose."""


class _Listener(BaseCallbackHandler):
    """Hears each chunk: LangChain's streams hand out text alone, without reasoning, usage and reason."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        """Take in a chunk."""
        self._draft.take(token, getattr(chunk, "generation_info", None) or {})


class Asking:
    """A question with its place in the conversation, its options and its draft."""

    def __init__(
        self,
        session: Session,
        turn: Turn,
        place: Place,
        options: Mapping[str, Any],
        view: View,
        interrupts: Interrupts,
        *,
        record: bool,
    ) -> None:
        self._session, self._place, self._view, self._interrupts = session, place, view, interrupts
        self.llm: ChatGLM = session.llm
        self.prompt = turn.prompt
        self._options = dict(options)
        self._history: tuple[Pair, ...] = place.history
        self._left_out = 0
        self._base = turn
        self._settled = self._frozen()
        self.draft = self._begin()  # raises for what can't be asked, before anything is superseded
        self._ended = False
        interrupts.hold()  # until begun(): a turn that is begun is kept as stopped
        self._entry = session.begin(place, self.draft.turn("incomplete")) if record else None
        self._stored = time.monotonic()

    def _begin(self) -> Draft:
        plan = self.llm.plan(self.prompt, **self.arguments)
        turn = replace(
            self._base,
            endpoint=bare(plan.call.url),
            dialect=plan.dialect,
            model=plan.sent.get("model"),
            system=self._options.get("system", self.llm.system),
            asked={**self._session.asked(), **self._options},
            sent=plan.sent,
            changed=plan.changed,
            turns_sent=len(self._history),
            turns_left_out=self._left_out,
        )
        self.draft = Draft(turn)
        return self.draft

    @property
    def arguments(self) -> dict[str, Any]:
        """The call's own values; the session keeps the conversation itself, in the right place."""
        history = [list(pair) for pair in self._history]
        return {**self._settled, **self._options, "history": history, "with_history": False}

    def _frozen(self) -> dict[str, Any]:
        """Return the model's present values, so that a later change does not touch a question under way.

        A parameter that ``model_kwargs`` sets is left to them: they beat the fields.
        """
        llm = self.llm
        plan = llm.plan(self.prompt, **self._options)
        names = IN_BODY if plan.dialect == "chatglm" else [n for n in IN_BODY if n in llm.model_fields_set]
        keys = dict(wire_names(plan.dialect))
        values = {n: getattr(llm, n) for n in names if keys.get(n, n) not in (llm.model_kwargs or {})}
        return values | {"stop": list(plan.stop), "endpoint_url": plan.endpoint_url, "dialect": plan.dialect}

    @property
    def config(self) -> Any:
        """LangChain's configuration of the call: who listens."""
        return {"callbacks": [_Listener(self.draft)]}

    def begun(self) -> None:
        """Let interrupts strike from here on, as one does that came since the turn began."""
        self._interrupts.release()
        self._interrupts.look()

    def show(self) -> None:
        """Tell the view that more has arrived, and once a second the store."""
        self._interrupts.look()
        self._view.update(self.draft)
        if self._entry is not None and time.monotonic() - self._stored >= STORED_EVERY:
            self._session.progress(self._entry, self.draft.turn("incomplete"))
            self._stored = time.monotonic()

    def shorten(self, error: ChatGLMError) -> bool:
        """Leave out the oldest turns where the conversation did not fit; tell whether to ask again."""
        if error.kind != "too_long" or not self._history:
            return False
        self._left_out += _too_many(self._history, error)
        self._history = self._place.history[self._left_out :]
        self._begin()
        return True

    def end(self, status: Status, error: BaseException | None = None) -> Answer:
        """Keep the turn as it stands, show it, and return it as an answer."""
        partial = error.partial if isinstance(error, ChatGLMError) else ""
        turn = self.draft.turn(status, str(error) if error else None, partial)
        self._keep(turn)
        self._interrupts.release()  # showing may take long
        self._view.close(turn)
        return Answer(turn)

    def explain(self, error: ChatGLMError) -> None:
        """Add the server's models to an error about the model: one look, at most 2 s."""
        unnamed = error.kind == "bad_request" and not self.draft.base.model and "model" in str(error).lower()
        if not (unnamed or (error.kind == "not_found" and "Choose a model" in str(error))):
            return
        server = {name: self._settled[name] for name in ("endpoint_url", "dialect")}
        models = self._session.probe(**server).models
        if models:
            error.args = (f"{error} The server has: {', '.join(models[:20])}.",)

    def failed(self, error: ChatGLMError) -> None:
        """Keep a turn that ended in an error; what was received stays."""
        self.end("incomplete" if self.draft.text or error.partial else "error", error)

    def broken(self, error: Exception) -> None:
        """Keep the turn when something of this side failed, such as a view; it is not shown again."""
        self._keep(self.draft.turn("incomplete" if self.draft.text else "error", repr(error)))

    def stopped(self) -> Interrupted:
        """Keep a turn that was interrupted; return the interrupt to raise again."""
        if self._ended:  # it struck while the last frame was made
            return Interrupted("the question had ended, and is kept: %chatglm_history shows it.")
        with suppress(KeyboardInterrupt):  # a second one, while the partial answer is shown
            self.end("interrupted")
        count = len(self.draft.text)
        kept = f"its first {count} characters are kept" if count else "nothing had arrived"
        return Interrupted(f"the answer was stopped, {kept}.")

    def _keep(self, turn: Turn) -> None:
        """Put the turn into its place, whatever is interrupted."""
        self._interrupts.hold()
        if self._entry is not None:
            self._session.keep(self._entry, turn)
        self._ended = True


def _too_many(history: tuple[Pair, ...], error: ChatGLMError) -> int:
    """Estimate how many of the oldest turns to leave out: by the server's count where it gave one."""
    tokens = error.tokens if isinstance(error, RefusedError) else None
    if tokens is None:
        return math.ceil(len(history) / 2)
    asked, room = tokens
    sizes = [len(question) + len(answer) for question, answer in history]
    surplus = sum(sizes) * (asked - room) / max(asked, 1)
    count = 0
    while count < len(sizes) and sum(sizes[:count]) <= surplus:
        count += 1
    return max(count, 1)
