"""What a server really honours: at most ten short requests, and what can be concluded from their answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..client.address import redact_url
from ..errors import ChatGLMError
from ..llm.request_plan import RequestPlan
from ..parameters import PARAMETERS
from ..render.dataframe import build_dataframe
from ..render.outer import disable_typesetting
from ..render.text import align_columns, one_line, plural
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
    """What was found out about one thing: the verdict, and the evidence for it."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True)
class Check:
    """What a server honours, as a table; ``check["seed"]`` is one row, :meth:`to_dataframe` all of them.

    :param endpoint: the endpoint, without a key.
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
        return build_dataframe((row._asdict() for row in self.rows), CheckRow._fields)

    @property
    def title(self) -> str:
        """One line: where, which protocol and model, how many requests."""
        where = f"{self.endpoint}, {'POST /' if self.dialect == 'chatglm' else '/v1'}"
        return f"{where}, model {self.model or 'not named'}: {plural(self.requests, 'request')}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        lines = align_columns([tuple(one_line(cell, 200) for cell in row) for row in self.rows])
        printer.text("\n".join([one_line(self.title), *lines]))

    def _repr_html_(self) -> str:
        from ..render.answers import CARD_CELL_STYLE, escape_html

        cell = f"{CARD_CELL_STYLE};vertical-align:top"
        body = "".join(
            f'<tr><th scope="row" style="{cell};font-weight:600">{escape_html(row.name)}</th>'
            f'<td style="{cell}">{MARKS[row.verdict]} {escape_html(row.verdict)}</td>'
            f'<td style="{cell}">{escape_html(one_line(row.evidence, 300))}</td></tr>'
            for row in self.rows
        )
        title = f"<caption style='text-align:left'>{escape_html(self.title)}</caption>"
        return disable_typesetting(f"<table>{title}<tbody>{body}</tbody></table>")


MARKS: dict[str, str] = {"honoured": "✓", "ignored": "✗", "refused": "✗", "can't tell": "–"}


@dataclass(frozen=True)
class Trial:
    """One request of the check: its options, and what it is for."""

    name: str
    purpose: str
    options: Mapping[str, Any]


HOT = 2.0
WARM = 0.5
"""A temperature that every server takes, at which tempered log probabilities differ from those at 1."""

ODDS = {"max_token": 1, "logprobs": True, "top_logprobs": TOP}
TRIALS = {
    trial.name: trial
    for trial in (
        Trial("plain", "temperature 0: protocol, streaming, usage, thinking", {"temperature": 0.0}),
        Trial("hot", "temperature 2, seed 1", {"temperature": HOT, "seed": 1}),
        Trial("hot again", "the same seed: the same text?", {"temperature": HOT, "seed": 1}),
        Trial("another seed", "another seed: another text?", {"temperature": HOT, "seed": 2}),
        Trial("narrow", "top_p 0.01 at temperature 2: as at 0?", {"temperature": HOT, "top_p": 0.01}),
        Trial("stop", "a stop sequence from the first answer", {"temperature": 0.0}),
        Trial("one token", "max_token 1, an earlier turn, logprobs", {"temperature": 1.0, **ODDS}),
        Trial("one warm token", "the same at temperature 0.5: whose logprobs?", {"temperature": WARM, **ODDS}),
        Trial("turn", "the same without logprobs, if they were refused", {"temperature": 0.0, "max_token": 1}),
        Trial(
            "system", "a system prompt, thinking off", {"temperature": 0.0, "system": SYSTEM, "thinking": "off"}
        ),
        Trial("plain again", "temperature 0 again, if that isn't shown yet", {"temperature": 0.0}),
    )
}
NOT_OWN = ("stop", "one warm token", "system")
"""Trials for which ChatGLM's own protocol has no keys."""

CLEARED = [row.name for row in PARAMETERS.values() if row.in_body and row.per_call and row.type is not object]
"""Parameters of the model that a check leaves to the server unless a trial is about them; its name stays."""


def run_check(llm: ChatGLM, clock: Callable[[], float] = time.monotonic) -> Check:
    """Find out what a server honours; no conversation is sent or changed, and nothing is recorded.

    :param clock: tells the seconds by which streams are timed.
    :raises ChatGLMError: if the first, plain request fails: then nothing can be found out.
    """
    return Checker(llm, clock).run()


def plan_trials(llm: ChatGLM) -> list[tuple[Trial, RequestPlan]]:
    """Return the requests that a check would send, in their order; nothing is sent."""
    checker = Checker(llm)
    trials = [trial for trial in TRIALS.values() if not checker.is_own or trial.name not in NOT_OWN]
    return [(trial, checker.plan(trial, stop="colour" if trial.name == "stop" else "")) for trial in trials]


class Checker:
    """Sends the trials one after the other, each exactly once, and draws the conclusions."""

    def __init__(self, llm: ChatGLM, clock: Callable[[], float] = time.monotonic) -> None:
        self._llm, self._clock = llm, clock
        self._sent = 0
        self._replies: dict[str, Reply] = {}
        self._hot: dict[str, Any] = {}
        """What the hot trials have instead of what the server refused; None is left out."""
        self.is_own = llm.plan("").dialect == "chatglm"

    def run(self) -> Check:
        """Send what is needed; return the table.

        :raises ChatGLMError: of the first request.
        """
        plain = self._send("plain")
        first = self.plan(TRIALS["plain"])
        if plain.error is not None and plain.error.kind == "bad_request" and first.usage:
            first.request.urls_without_usage.add(
                first.request.url
            )  # an older transformers serve refuses the wish for token counts
            plain = self._send("plain")
            if plain.error is not None:  # it was something else
                first.request.urls_without_usage.discard(first.request.url)
        if plain.error is not None:
            raise plain.error
        if self._send("hot").is_refused:
            self._send_milder()
        for name in ("hot again", "another seed", "narrow", "stop", "one token", "one warm token", "turn"):
            self._send_if_needed(name)
        self._send_if_needed("system")
        self._send_if_needed("plain again")
        plan = self.plan(TRIALS["plain"])
        rows = tuple(CheckRow(name, *conclude(self._replies, plan)) for name, conclude in CONCLUSIONS.items())
        return Check(
            redact_url(plan.request.url), plan.dialect, plain.model or plan.sent.get("model"), rows, self._sent
        )

    def plan(self, trial: Trial, *, stop: str = "") -> RequestPlan:
        """Return the request of a trial."""
        earlier = trial.name.startswith("one") or trial.name == "turn"
        cleared = {} if self.is_own else {name: None for name in CLEARED if name not in ("model", "stop")}
        options: dict[str, Any] = {**cleared, "max_token": LENGTH, **trial.options}
        options |= self._hot if trial.options["temperature"] == HOT else {}
        options["history"] = EARLIER if earlier else []
        if self.is_own:
            options |= {"max_token": WHOLE_LENGTH}
            if trial.name == "one token":
                options = {"temperature": 0.0, "max_token": SHORT_LENGTH, "history": []}
        plan = self._llm.plan(PROMPT, [stop] if stop else [], **options, with_history=False)
        # The stop sequence isn't applied here: it is the server's doing that is of interest.
        return replace(plan, request=replace(plan.request, stop=(), exact=True), tape=None)

    def _send_milder(self) -> None:
        """Find out what of the hot trial was refused: the temperature alone, or the seed."""
        refused = self._replies["hot"]
        self._hot = {"temperature": 1.0}
        milder = self._send("hot")
        if not milder.is_refused:
            self._replies["too hot"] = refused
            return
        self._hot["seed"] = None
        if not self._send("hot").is_refused:
            self._replies["seeded"] = milder

    def _send_if_needed(self, name: str) -> None:
        plain, one = self._replies["plain"], self._replies.get("one token")
        needed = {
            "hot again": "seeded" not in self._replies,
            "stop": bool(word_of(plain.text)),
            "one warm token": one is not None and bool(one.logprobs),
            "turn": self.is_own or one is None or one.error is not None,
            "plain again": "narrow" not in self._replies or self._replies["narrow"].said != plain.said,
        }
        if needed.get(name, True) and self._sent < MOST and not (self.is_own and name in NOT_OWN):
            self._send(name, stop=word_of(plain.text) if name == "stop" else "")

    def _send(self, name: str, *, stop: str = "") -> Reply:
        """Send one trial once, and keep what comes of it."""
        plan = self.plan(TRIALS[name], stop=stop)
        reply = self._replies[name] = Reply(changed=plan.changed)
        began = self._clock()
        self._sent += 1
        try:
            with closing(self._llm.stream_plan(plan)) as chunks:  # type: ignore[type-var]
                for chunk in chunks:
                    reply.add_chunk(chunk.text, chunk.generation_info or {}, self._clock() - began)
        except ChatGLMError as error:
            reply.error = error
        return reply


def describe_trials(trials: Sequence[tuple[Trial, RequestPlan]]) -> str:
    """Return the requests of a check as text: a line each."""
    rows = [(str(n), trial.purpose, _describe_parameters(plan.sent)) for n, (trial, plan) in enumerate(trials, 1)]
    url = redact_url(trials[0][1].request.url)
    head = f"At most {MOST} of these requests go to {url}, each with the prompt {PROMPT!r}:"
    return "\n".join([head, *align_columns(rows)])


def _describe_parameters(sent: Mapping[str, Any]) -> str:
    left_out = ("stream", "stream_options", "model")
    return one_line(", ".join(f"{name}={value}" for name, value in sent.items() if name not in left_out), 160)
