"""What a server really honours: at most ten short requests, and what can be concluded from their answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..client.address import bare
from ..errors import ChatGLMError
from ..llm.request_plan import RequestPlan
from ..render.dataframe import table
from ..render.outer import outer
from ..render.text import aligned, one_line, plural
from .verdicts import CONCLUSIONS, Reply, Verdict, word_of

if TYPE_CHECKING:
    from ..llm import ChatGLM

MOST = 10
"""Requests; the last one is sent only if none had to be sent again."""

PROMPT = "Name three colours and say in one sentence why you like them."
SYSTEM = "You are a careful assistant who answers in as few words as possible, and never in more than ten."
EARLIER = [
    ["Which animals do you know, and which of them can fly?", "Birds and bats can fly; dogs and cats can't."]
]
LENGTH = 40
"""Tokens that an answer may have, where it isn't the length that is asked about."""
WHOLE_LENGTH, SHORT_LENGTH = 200, 30
"""The same, and the short one, where the prompt's own tokens count too, as on ``POST /``."""

TOP = 5


class CheckRow(NamedTuple):
    """What was found out about one thing: the verdict, and what it is concluded from."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True)
class Check:
    """What a server honours, as a table; ``check["seed"]`` is one row, :meth:`to_dataframe` all of them.

    :param endpoint: the URL that was asked, without a key.
    :param dialect: the protocol, ``openai`` or ``chatglm``.
    :param model: the model's name as the server tells it.
    :param requests: how many requests the server got.
    """

    endpoint: str
    dialect: str
    model: str | None
    rows: tuple[CheckRow, ...]
    requests: int

    def __getitem__(self, name: str) -> CheckRow:
        """Return the row of that name.

        :raises KeyError: if there is none.
        """
        return {row.name: row for row in self.rows}[name]

    def __contains__(self, name: object) -> bool:
        return any(row.name == name for row in self.rows)

    def __iter__(self) -> Iterator[CheckRow]:
        return iter(self.rows)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with the columns ``name``, ``verdict`` and ``evidence``.

        :raises ChatGLMError: if pandas is not installed.
        """
        return table((row._asdict() for row in self.rows), CheckRow._fields)

    @property
    def title(self) -> str:
        """One line: where, which protocol and model, how many requests."""
        where = f"{self.endpoint}, {'POST /' if self.dialect == 'chatglm' else '/v1'}"
        return f"{where}, model {self.model or 'not named'}: {plural(self.requests, 'request')}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        lines = aligned([tuple(one_line(cell, 200) for cell in row) for row in self.rows])
        printer.text("\n".join([one_line(self.title), *lines]))

    def _repr_html_(self) -> str:
        from ..render.answers import escape

        cell = "text-align:left;padding:.15em .8em .15em 0;vertical-align:top"
        body = "".join(
            f'<tr><th scope="row" style="{cell};font-weight:600">{escape(row.name)}</th>'
            f'<td style="{cell}">{MARKS[row.verdict]} {escape(row.verdict)}</td>'
            f'<td style="{cell}">{escape(one_line(row.evidence, 300))}</td></tr>'
            for row in self.rows
        )
        title = f"<caption style='text-align:left'>{escape(self.title)}</caption>"
        return outer(f"<table>{title}<tbody>{body}</tbody></table>")


MARKS: dict[str, str] = {"honoured": "✓", "ignored": "✗", "refused": "✗", "can't tell": "–"}


@dataclass(frozen=True)
class Trial:
    """One request of the check: its options, and what it is for."""

    name: str
    purpose: str
    options: Mapping[str, Any]


TRIALS = (
    Trial("plain", "temperature 0: protocol, streaming, usage, thinking", {"temperature": 0.0}),
    Trial("hot", "temperature 2, seed 1", {"temperature": 2.0, "top_p": 1.0, "seed": 1}),
    Trial("hot again", "the same seed: the same text?", {"temperature": 2.0, "top_p": 1.0, "seed": 1}),
    Trial("another seed", "another seed: another text?", {"temperature": 2.0, "top_p": 1.0, "seed": 2}),
    Trial("narrow", "top_p 0.01 at temperature 2: as at 0?", {"temperature": 2.0, "top_p": 0.01, "seed": 3}),
    Trial("stop", "a stop sequence from the first answer", {"temperature": 0.0}),
    Trial(
        "one token",
        "max_token 1, an earlier turn, logprobs",
        {"temperature": 1.0, "top_p": 1.0, "max_token": 1, "logprobs": True, "top_logprobs": TOP},
    ),
    Trial(
        "one hot token",
        "the same at temperature 2: whose logprobs?",
        {"temperature": 2.0, "top_p": 1.0, "max_token": 1, "logprobs": True, "top_logprobs": TOP},
    ),
    Trial("turn", "an earlier turn alone, if logprobs were refused", {"temperature": 0.0, "max_token": 1}),
    Trial("system", "a system prompt, thinking off", {"temperature": 0.0, "system": SYSTEM, "thinking": "off"}),
    Trial("plain again", "temperature 0 again, if that isn't shown yet", {"temperature": 0.0}),
)


NOT_OWN = ("stop", "one hot token", "system")


def run_check(llm: ChatGLM) -> Check:
    """Ask what a server honours; no conversation is sent or changed, and nothing is recorded.

    :raises ChatGLMError: if the first, plain request fails: then nothing can be found out.
    """
    return Checker(llm).run()


def plan_trials(llm: ChatGLM) -> list[tuple[Trial, RequestPlan]]:
    """Return the requests that a check would send, in their order; nothing is sent."""
    trials = [trial for trial in TRIALS if not _is_own(llm) or trial.name not in NOT_OWN]
    return [(trial, _plan(llm, trial, stop="colour" if trial.name == "stop" else "")) for trial in trials]


def _is_own(llm: ChatGLM) -> bool:
    """Tell whether requests go out in ChatGLM's own protocol, which has no keys for some of the trials."""
    return llm.plan("").dialect == "chatglm"


def _plan(llm: ChatGLM, trial: Trial, *, stop: str = "") -> RequestPlan:
    earlier = trial.name.startswith("one") or trial.name == "turn"
    options: dict[str, Any] = {"max_token": LENGTH, **trial.options, "history": EARLIER if earlier else []}
    if _is_own(llm):
        options |= {"max_token": WHOLE_LENGTH}
        if trial.name == "one token":
            options = {"temperature": 0.0, "max_token": SHORT_LENGTH, "history": []}
    plan = llm.plan(PROMPT, [stop] if stop else [], **options, with_history=False, max_retries=0)
    # The stop sequence isn't applied here: it is the server's doing that is asked about.
    return replace(plan, call=replace(plan.call, stop=()), tape=None) if stop else replace(plan, tape=None)


class Checker:
    """Sends the trials one after the other, and draws the conclusions."""

    def __init__(self, llm: ChatGLM) -> None:
        self._llm = llm
        self._sent = 0
        self._is_own = _is_own(llm)
        self._replies: dict[str, Reply] = {}

    def run(self) -> Check:
        """Send what is needed; return the table.

        :raises ChatGLMError: of the first request.
        """
        plain = self._send(TRIALS[0])
        if plain.error is not None:
            raise plain.error
        for trial in TRIALS[1:]:
            if self._is_needed(trial, plain):
                self._send(trial, stop=word_of(plain.text) if trial.name == "stop" else "")
        plan = _plan(self._llm, TRIALS[0])
        rows = tuple(CheckRow(name, *conclude(self._replies, plan)) for name, conclude in CONCLUSIONS.items())
        return Check(bare(plan.call.url), plan.dialect, plain.model or plan.sent.get("model"), rows, self._sent)

    def _is_needed(self, trial: Trial, plain: Reply) -> bool:
        if self._sent >= MOST or (self._is_own and trial.name in NOT_OWN):
            return False
        if trial.name == "stop":
            return bool(word_of(plain.text))
        if trial.name == "one hot token":
            return bool(self._replies["one token"].logprobs)
        if trial.name == "turn":
            return self._replies["one token"].refused or self._is_own
        if trial.name == "plain again":
            return self._replies["narrow"].text != plain.text
        return True

    def _send(self, trial: Trial, *, stop: str = "") -> Reply:
        """Send one trial, and count what the server gets for it: some requests are sent again without a key."""
        plan = _plan(self._llm, trial, stop=stop)
        reply = self._replies[trial.name] = Reply()
        had_usage = plan.usage
        began = time.monotonic()
        self._sent += 1
        try:
            with closing(self._llm.stream_plan(plan)) as chunks:  # type: ignore[type-var]
                for chunk in chunks:
                    self._take(reply, chunk.text, chunk.generation_info or {}, time.monotonic() - began)
        except ChatGLMError as error:
            reply.error = error
        if had_usage and plan.call.url in plan.call.no_usage:
            self._sent += 1
        return reply

    def _take(self, reply: Reply, text: str, info: Mapping[str, Any], seconds: float) -> None:
        thought = info.get("reasoning") or ""
        if info.get("thought"):
            reply.reasoning, reply.text = reply.reasoning + reply.text, ""
        if text or thought:
            reply.first = reply.first or seconds
            reply.last, reply.pieces = seconds, reply.pieces + 1
        reply.text, reply.reasoning = reply.text + text, reply.reasoning + thought
        reply.finish_reason = info.get("finish_reason") or reply.finish_reason
        reply.usage = info.get("usage") or reply.usage
        reply.model = info.get("model") or reply.model
        reply.odds += info.get("logprobs") or ()
        again = ("stream", "stop", "temperature", "top_logprobs")
        self._sent += sum(change.name in again and _was_resent(change) for change in info.get("changed") or ())


def _was_resent(change: str) -> bool:
    """Tell whether a change came of a refusal, after which the request was sent again."""
    return any(words in change for words in ("asked again", "refused,", "are applied here"))


def describe_trials(trials: Sequence[tuple[Trial, RequestPlan]]) -> str:
    """Return the requests of a check as text: a line each."""
    rows = [(str(n), trial.purpose, _shown(plan.sent)) for n, (trial, plan) in enumerate(trials, 1)]
    head = (
        f"At most {MOST} of these requests go to {bare(trials[0][1].call.url)}, each with the prompt {PROMPT!r}:"
    )
    return "\n".join([head, *aligned(rows)])


def _shown(sent: Mapping[str, Any]) -> str:
    left_out = ("stream", "stream_options", "model")
    return one_line(", ".join(f"{name}={value}" for name, value in sent.items() if name not in left_out), 160)
