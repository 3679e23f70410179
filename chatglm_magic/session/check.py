"""``%chatglm_check``: test with at most ten short requests which parameters a server honours."""

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
from .verdicts import CONCLUSIONS, TrialResult, Verdict, pick_word

if TYPE_CHECKING:
    from ..llm import ChatGLM

MAX_REQUESTS = 10
"""The last request is sent only if none had to be repeated."""

PROMPT = "Name three colours and say in one sentence why you like them."
SYSTEM_PROMPT = "You are a careful assistant who answers in as few words as possible, and never in more than ten."
EARLIER_TURNS = [
    ["Which animals do you know, and which of them can fly?", "Birds and bats can fly; dogs and cats can't."]
]
ANSWER_TOKENS = 40
"""``max_token`` of trials that don't test it."""
TOTAL_TOKENS, SHORT_TOTAL_TOKENS = 200, 30
"""The same on ``POST /``, where prompt tokens count too, and its low value."""

TOP_LOGPROBS = 5


class CheckRow(NamedTuple):
    """The verdict on one feature, and the evidence for it."""

    name: str
    verdict: Verdict
    evidence: str


@dataclass(frozen=True)
class ServerCheck:
    """A table of what a server honours; ``check["seed"]`` is one row, :meth:`to_dataframe` returns all.

    :param endpoint: its URL without a key.
    :param dialect: the protocol, ``openai`` or ``chatglm``.
    :param model: the model's name as reported by the server.
    :param requests: the number of requests sent.
    """

    endpoint: str
    dialect: str
    model: str | None
    rows: tuple[CheckRow, ...]
    requests: int

    def __getitem__(self, name: str) -> CheckRow:
        """Return the row with that name.

        :raises KeyError: if there is no such row.
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
        """One line with the endpoint, protocol, model and number of requests."""
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
            f'<td style="{cell}">{VERDICT_MARKS[row.verdict]} {escape_html(row.verdict)}</td>'
            f'<td style="{cell}">{escape_html(one_line(row.evidence, 300))}</td></tr>'
            for row in self.rows
        )
        title = f"<caption style='text-align:left'>{escape_html(self.title)}</caption>"
        return disable_typesetting(f"<table>{title}<tbody>{body}</tbody></table>")


VERDICT_MARKS: dict[str, str] = {"honoured": "✓", "ignored": "✗", "refused": "✗", "can't tell": "–"}


@dataclass(frozen=True)
class Trial:
    """One request of the check: its purpose and its options."""

    name: str
    purpose: str
    options: Mapping[str, Any]


HOT_TEMPERATURE = 2.0
WARM_TEMPERATURE = 0.5
"""A temperature that every server accepts, at which tempered log probabilities differ from those at 1."""

ONE_TOKEN_OPTIONS = {"max_token": 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
TRIALS = {
    trial.name: trial
    for trial in (
        Trial("plain", "temperature 0: protocol, streaming, usage, thinking", {"temperature": 0.0}),
        Trial("hot", "temperature 2, seed 1", {"temperature": HOT_TEMPERATURE, "seed": 1}),
        Trial("hot again", "the same seed: the same text?", {"temperature": HOT_TEMPERATURE, "seed": 1}),
        Trial("another seed", "another seed: another text?", {"temperature": HOT_TEMPERATURE, "seed": 2}),
        Trial("narrow", "top_p 0.01 at temperature 2: as at 0?", {"temperature": HOT_TEMPERATURE, "top_p": 0.01}),
        Trial("stop", "a stop sequence from the first answer", {"temperature": 0.0}),
        Trial("one token", "max_token 1, an earlier turn, logprobs", {"temperature": 1.0, **ONE_TOKEN_OPTIONS}),
        Trial(
            "one warm token",
            "the same at temperature 0.5: whose logprobs?",
            {"temperature": WARM_TEMPERATURE, **ONE_TOKEN_OPTIONS},
        ),
        Trial("turn", "the same without logprobs, if they were refused", {"temperature": 0.0, "max_token": 1}),
        Trial(
            "system",
            "a system prompt, thinking off",
            {"temperature": 0.0, "system": SYSTEM_PROMPT, "thinking": "off"},
        ),
        Trial("plain again", "temperature 0 again, if that isn't shown yet", {"temperature": 0.0}),
    )
}
OPENAI_ONLY_TRIALS = ("stop", "one warm token", "system")
"""Trials for which the ChatGLM protocol has no keys."""

DEFAULTED = [row.name for row in PARAMETERS.values() if row.in_body and row.per_call and row.type is not object]
"""Parameters that a check leaves to the server unless a trial tests them, except the model's name."""


def run_check(llm: ChatGLM, clock: Callable[[], float] = time.monotonic) -> ServerCheck:
    """Test what a server honours; no conversation is sent or changed, and nothing is recorded.

    :param clock: returns seconds, to time streams.
    :raises ChatGLMError: if the first, plain request fails.
    """
    return Checker(llm, clock).run()


def plan_trials(llm: ChatGLM) -> list[tuple[Trial, RequestPlan]]:
    """Return the requests that a check would send, in order; nothing is sent."""
    checker = Checker(llm)
    trials = [trial for trial in TRIALS.values() if not checker.is_chatglm or trial.name not in OPENAI_ONLY_TRIALS]
    return [(trial, checker.plan(trial, stop="colour" if trial.name == "stop" else "")) for trial in trials]


class Checker:
    """Sends the trials one after the other, each exactly once, and concludes the verdicts."""

    def __init__(self, llm: ChatGLM, clock: Callable[[], float] = time.monotonic) -> None:
        self._llm, self._clock = llm, clock
        self._sent = 0
        self._results: dict[str, TrialResult] = {}
        self._hot_options: dict[str, Any] = {}
        """Options of the hot trials that replace those the server refused; None omits one."""
        self.is_chatglm = llm.plan("").dialect == "chatglm"

    def run(self) -> ServerCheck:
        """Send the trials that are needed; return the table.

        :raises ChatGLMError: if the first request fails.
        """
        plain = self._send("plain")
        first = self.plan(TRIALS["plain"])
        if plain.error is not None and plain.error.kind == "bad_request" and first.usage:
            # An older "transformers serve" refuses to count tokens.
            first.request.urls_without_usage.add(first.request.url)
            plain = self._send("plain")
            if plain.error is not None:  # that wasn't the reason
                first.request.urls_without_usage.discard(first.request.url)
        if plain.error is not None:
            raise plain.error
        if self._send("hot").is_refused:
            self._send_milder()
        for name in TRIALS:
            if name not in ("plain", "hot"):
                self._send_if_needed(name)
        plan = self.plan(TRIALS["plain"])
        rows = tuple(CheckRow(name, *conclude(self._results, plan)) for name, conclude in CONCLUSIONS.items())
        model = plain.model or plan.sent.get("model")
        return ServerCheck(redact_url(plan.request.url), plan.dialect, model, rows, self._sent)

    def plan(self, trial: Trial, *, stop: str = "") -> RequestPlan:
        """Return the request of a trial."""
        has_context = trial.name.startswith("one") or trial.name == "turn"
        defaults = {} if self.is_chatglm else {name: None for name in DEFAULTED if name not in ("model", "stop")}
        options: dict[str, Any] = {**defaults, "max_token": ANSWER_TOKENS, **trial.options}
        options |= self._hot_options if trial.options["temperature"] == HOT_TEMPERATURE else {}
        options["history"] = EARLIER_TURNS if has_context else []
        if self.is_chatglm:
            options |= {"max_token": TOTAL_TOKENS}
            if trial.name == "one token":
                options = {"temperature": 0.0, "max_token": SHORT_TOTAL_TOKENS, "history": []}
        plan = self._llm.plan(PROMPT, [stop] if stop else [], **options, with_history=False)
        # The stop sequence isn't applied on this side, to see whether the server does.
        return replace(plan, request=replace(plan.request, stop=(), exact=True), tape=None)

    def _send_milder(self) -> None:
        """Find out which option of the hot trial was refused: the temperature or the seed."""
        refused = self._results["hot"]
        self._hot_options = {"temperature": 1.0}
        milder = self._send("hot")
        if not milder.is_refused:
            self._results["too hot"] = refused
            return
        self._hot_options["seed"] = None
        if not self._send("hot").is_refused:
            self._results["seeded"] = milder

    def _send_if_needed(self, name: str) -> None:
        plain, one = self._results["plain"], self._results.get("one token")
        needed = {
            "hot again": "seeded" not in self._results,
            "stop": bool(pick_word(plain.text)),
            "one warm token": one is not None and bool(one.first_logprobs),
            "turn": self.is_chatglm or one is None or one.error is not None,
            "plain again": "narrow" not in self._results or self._results["narrow"].full_text != plain.full_text,
        }
        is_possible = not (self.is_chatglm and name in OPENAI_ONLY_TRIALS)
        if needed.get(name, True) and self._sent < MAX_REQUESTS and is_possible:
            self._send(name, stop=pick_word(plain.text) if name == "stop" else "")

    def _send(self, name: str, *, stop: str = "") -> TrialResult:
        """Send one trial once; return its result, also if it failed."""
        plan = self.plan(TRIALS[name], stop=stop)
        result = self._results[name] = TrialResult(changed=plan.changed)
        started = self._clock()
        self._sent += 1
        try:
            with closing(self._llm.stream_plan(plan)) as chunks:  # type: ignore[type-var]
                for chunk in chunks:
                    result.add_chunk(chunk.text, chunk.generation_info or {}, self._clock() - started)
        except ChatGLMError as error:
            result.error = error
        return result


def describe_trials(trials: Sequence[tuple[Trial, RequestPlan]]) -> str:
    """Return the requests of a check as text, one per line."""
    rows = [(str(n), trial.purpose, _describe_parameters(plan.sent)) for n, (trial, plan) in enumerate(trials, 1)]
    url = redact_url(trials[0][1].request.url)
    header = f"At most {MAX_REQUESTS} of these requests go to {url}, each with the prompt {PROMPT!r}:"
    return "\n".join([header, *align_columns(rows)])


def _describe_parameters(sent: Mapping[str, Any]) -> str:
    omitted = ("stream", "stream_options", "model")
    return one_line(", ".join(f"{name}={value}" for name, value in sent.items() if name not in omitted), 160)
