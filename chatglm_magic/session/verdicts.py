"""Verdicts on each feature that a server may honour, concluded from the trials of a check."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, Literal

from ..errors import ChatGLMError, ResponseError
from ..llm.request_plan import RequestPlan
from ..render.text import one_line, plural
from ..values import Change, TokenLogprobs, reasoning_tokens_in

Verdict = Literal["honoured", "ignored", "refused", "can't tell"]
Conclusion = tuple[Verdict, str]
"""A verdict, and the evidence as text."""

MAX_AT_ONCE_RATIO, MIN_STREAMED_RATIO = 0.02, 0.1
"""Ratios of the time in which an answer arrives to the wait for its first piece. Below the first it was sent
at once, above the second it was streamed; between them, a fast server behind a queue looks like either."""

MIN_WAIT_SECONDS = 0.2
"""After a shorter wait, an answer that arrives in pieces counts as streamed."""

MIN_SIMILARITY = 0.7
"""Two answers at temperature 0 that differ by rounding alone are at least this similar, from 0 to 1."""

CUTOFF_LOGPROB = -100.0
"""Servers replace minus infinity, which JSON lacks, by values below this."""

MAX_SWITCH_TOKENS = 6
"""A template may add or omit this many prompt tokens for a switch such as thinking."""


@dataclass
class TrialResult:
    """What the server sent for one trial."""

    changed: tuple[Change, ...] = ()
    """Changes made to the request before it was sent."""
    text: str = ""
    reasoning: str = ""
    pieces: int = 0
    first: float = 0.0
    """Seconds to the first piece; ``last`` is the time to the last one."""
    last: float = 0.0
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    token_logprobs: list[TokenLogprobs] = field(default_factory=list)
    error: ChatGLMError | None = None

    def add_chunk(self, text: str, info: Mapping[str, Any], seconds: float) -> None:
        """Add a chunk's text and its ``generation_info``, received ``seconds`` after the request."""
        reasoning = info.get("reasoning") or ""
        if info.get("thought"):
            self.reasoning, self.text = self.reasoning + self.text, ""
        if text or reasoning:
            self.first = self.first or seconds
            self.last, self.pieces = seconds, self.pieces + 1
        self.text, self.reasoning = self.text + text, self.reasoning + reasoning
        self.usage = info.get("usage") or self.usage
        self.model = info.get("model") or self.model
        self.token_logprobs += info.get("logprobs") or ()

    @property
    def full_text(self) -> str:
        """All text of the model: the thinking and the answer."""
        return self.reasoning + self.text

    @property
    def is_refused(self) -> bool:
        """Whether the server refused the request."""
        return isinstance(self.error, ResponseError) and self.error.kind in ("bad_request", "not_found")

    @property
    def error_text(self) -> str:
        """The error's message; empty without an error."""
        return one_line(str(self.error), 300) if self.error else ""

    @property
    def arrival_ratio(self) -> float | None:
        """The time in which the answer arrived, relative to the wait for it; None if it came in one piece."""
        if self.pieces < 2:
            return None
        return (self.last - self.first) / self.first if self.first > MIN_WAIT_SECONDS else math.inf

    @property
    def tokens(self) -> int | None:
        """The number of tokens: of those with log probabilities, or the server's count."""
        counted = self.usage.get("completion_tokens")
        return len(self.token_logprobs) or (counted if isinstance(counted, int) else None)

    @property
    def has_thought(self) -> bool:
        """Whether the answer includes thinking."""
        return bool(self.reasoning.strip()) or bool(reasoning_tokens_in(self.usage))

    @property
    def first_logprobs(self) -> dict[str, float]:
        """The log probabilities of the first token's candidates."""
        top = self.token_logprobs[0].top if self.token_logprobs else ()
        return {candidate.token: candidate.logprob for candidate in top}


Results = Mapping[str, TrialResult]


def pick_word(text: str) -> str:
    """Return a word from the middle of an answer; empty if the answer is too short for one."""
    words = text.split()
    if len(words) > 3:
        return words[len(words) // 2].strip(".,;:!?。，；：！？")
    return text[3:5] if len(text) > 8 else ""


def measure_logprob_slope(plain: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Return how many times as far apart the other log probabilities are; None if unknown.

    By least squares of the differences from the most likely token: 1 for raw ones, 1/T after a temperature T.
    """
    tokens = [token for token in plain if min(plain[token], other.get(token, -math.inf)) > CUTOFF_LOGPROB]
    if len(tokens) < 2:
        return None
    first = max(tokens, key=plain.__getitem__)
    pairs = [(plain[token] - plain[first], other[token] - other[first]) for token in tokens]
    spread = math.fsum(x * x for x, _ in pairs)
    return math.fsum(x * y for x, y in pairs) / spread if spread > 1e-4 else None


def _failure(*results: TrialResult | None) -> Conclusion | None:
    """Return a conclusion if one of the requests failed or wasn't sent, else None."""
    for result in results:
        if result is None:
            return "can't tell", "not sent: ten requests were used up"
        if result.is_refused:
            return "refused", result.error_text
        if result.error is not None:
            return "can't tell", f"the request failed: {result.error_text}"
    return None


def _missing_in_protocol(plan: RequestPlan, lacks: str) -> Conclusion | None:
    """Return a conclusion if the protocol lacks a feature, else None."""
    return ("can't tell", f"the ChatGLM protocol {lacks}") if plan.dialect == "chatglm" else None


def _protocol(results: Results, plan: RequestPlan) -> Conclusion:
    protocol = "OpenAI's protocol" if plan.dialect == "openai" else "the ChatGLM protocol"
    requested, actual = plan.sent.get("model"), results["plain"].model
    if not actual:
        return "honoured", f"{protocol}, the model has no name"
    if requested:
        names = sorted((_base_name(requested), _base_name(actual)), key=len)
        if not names[1].startswith(names[0]):  # the name may lack the date or tag of the full one
            return "ignored", f"{protocol}; model {requested} was requested, {actual} answered"
    return "honoured", f"{protocol}, model {actual}"


def _base_name(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].partition(":")[0].lower()


def _streaming(results: Results, plan: RequestPlan) -> Conclusion:
    plain = results["plain"]
    if missing := _missing_in_protocol(plan, "does not stream"):
        return missing
    if plain.pieces < 2:
        return "ignored", "the answer came in one piece"
    # The first answer may have waited for a model to load: one that arrives bit by bit is enough.
    candidates = [
        results[name] for name in ("plain", "hot", "hot again", "another seed", "narrow") if name in results
    ]
    ratios = [(result.arrival_ratio, result) for result in candidates if result.arrival_ratio is not None]
    for ratio, result in ratios:
        if ratio > MIN_STREAMED_RATIO:
            return "honoured", f"{result.pieces} pieces from {result.first:.2f} to {result.last:.2f} s"
    evidence = f"{plain.pieces} pieces came at once, {plain.first:.1f} s after the request"
    if min(ratio for ratio, _ in ratios) < MAX_AT_ONCE_RATIO:
        return "ignored", f"{evidence}: the server writes the whole answer first"
    return "can't tell", f"{evidence}, or very fast"


def _temperature(results: Results, plan: RequestPlan) -> Conclusion:
    plain, hot, other = results["plain"], results.get("hot"), results.get("another seed")
    if failure := _failure(hot, other):
        return failure
    assert hot is not None and other is not None
    if not plain.full_text and not hot.full_text:
        return "can't tell", "the answers are empty"
    high = "1" if "too hot" in results or "seeded" in results else "2"
    evidence = f"; 2 is refused: {results['too hot'].error_text}" if "too hot" in results else ""
    varies = hot.full_text != plain.full_text or other.full_text != plain.full_text
    again, narrow = results.get("plain again"), results.get("narrow")
    if again is not None and again.error is None and again.full_text != plain.full_text:
        if varies and SequenceMatcher(None, plain.full_text, again.full_text).ratio() > MIN_SIMILARITY:
            return "can't tell", "at 0 two answers to one prompt differ a little"
        return "ignored", "at 0 two answers to one prompt differ"
    steady = any(result is not None and result.full_text == plain.full_text for result in (again, narrow))
    if steady and not varies:
        return "ignored", f"at {high} two requests give the answer of 0"
    if steady:
        return "honoured", f"steady at 0, another answer at {high}{evidence}"
    return "can't tell", "no second answer at 0 was received"


def _top_p(results: Results, plan: RequestPlan) -> Conclusion:
    narrow, plain = results.get("narrow"), results["plain"]
    if failure := _failure(narrow):
        return failure
    assert narrow is not None
    if _temperature(results, plan)[0] != "honoured":
        return "can't tell", "only where the temperature is honoured"
    if narrow.full_text == plain.full_text:
        return "honoured", "0.01 at a high temperature gives the answer of temperature 0"
    return "ignored", "0.01 at a high temperature is not steady"


def _seed(results: Results, plan: RequestPlan) -> Conclusion:
    if "seeded" in results:
        return "refused", results["seeded"].error_text
    hot, again, other = (results.get(name) for name in ("hot", "hot again", "another seed"))
    if failure := _failure(hot, again, other):
        return failure
    assert hot is not None and again is not None and other is not None
    if hot.full_text != again.full_text:
        return "ignored", "one seed gave two texts"
    if hot.full_text == other.full_text:
        return "can't tell", "two seeds gave one text"
    return "honoured", "the same seed gave the same text, another seed another"


def _max_token(results: Results, plan: RequestPlan) -> Conclusion:
    one, plain = results.get("one token"), results["plain"]
    if plan.dialect == "openai" and one is not None and one.error is not None:
        one = results.get("turn")  # without the logprobs, which may have been refused
    if failure := _failure(one):
        return failure
    assert one is not None
    if one.tokens is not None and plan.dialect == "openai":
        evidence = f"requested 1 token, got {one.tokens}"
        return ("honoured", evidence) if one.tokens <= 1 else ("ignored", evidence)
    short, long = len(one.full_text), len(plain.full_text)
    evidence = f"{plural(short, 'character')} with a low max_token, {long} with a higher one"
    return ("honoured", evidence) if short < long else ("can't tell", evidence)


def _stop(results: Results, plan: RequestPlan) -> Conclusion:
    if missing := _missing_in_protocol(plan, "has no stop sequences"):
        return missing
    word = pick_word(results["plain"].text)
    if not word:
        return "can't tell", "the first answer is too short to stop in"
    result = results.get("stop")
    if failure := _failure(result):
        return failure
    assert result is not None
    if word in result.text:
        return "ignored", f"the answer continues past {word!r}; it is cut on this side anyway"
    return "honoured", f"the answer ended before {word!r}"


def _logprobs(results: Results, plan: RequestPlan) -> Conclusion:
    if missing := _missing_in_protocol(plan, "has no log probabilities"):
        return missing
    one, warm = results.get("one token"), results.get("one warm token")
    if failure := _failure(one):
        return failure
    assert one is not None
    if not one.first_logprobs:
        return "ignored", "none were returned"
    count = f"{plural(len(one.first_logprobs), 'candidate')} for a token"
    slope = None
    if warm is not None and not warm.changed:
        slope = measure_logprob_slope(one.first_logprobs, warm.first_logprobs)
    if slope is not None and abs(slope - 1) < 0.1:
        return "honoured", f"{count}: raw, the model's own"
    if slope is not None and abs(slope - 2) < 0.2:
        return "honoured", f"{count}: tempered, after the temperature"
    return "can't tell", f"{count}; can't tell whether they are raw or tempered"


def _thinking(results: Results, plan: RequestPlan) -> Conclusion:
    if missing := _missing_in_protocol(plan, "does not report thinking"):
        return missing
    plain, off = results["plain"], results.get("system")
    by_default = "the model didn't think by default"
    if failure := _failure(off):
        return failure if plain.has_thought else ("can't tell", by_default)
    assert off is not None
    apart = "apart from the answer" if plain.reasoning else "counted, not shown"
    changed = next((change for change in off.changed if change.name == "thinking"), None)
    if changed is not None:
        return "can't tell", f"{changed}; {apart}" if plain.has_thought else changed
    if off.has_thought:
        return "ignored", f"still thinks with thinking=off; {apart}"
    return ("honoured", f"thinks unless it is off; {apart}") if plain.has_thought else ("can't tell", by_default)


def _prompt_tokens(result: TrialResult) -> int | None:
    counted = result.usage.get("prompt_tokens")
    return counted if isinstance(counted, int) else None


def _conclude_read(name: str, more: TrialResult | None, plain: TrialResult, *, greedy: bool) -> Conclusion:
    """Conclude from prompt token counts, else from a greedy answer, whether further text reached the model."""
    if failure := _failure(more):
        return failure
    assert more is not None
    without, with_it = _prompt_tokens(plain), _prompt_tokens(more)
    if without is not None and with_it is not None:
        evidence = f"{without} tokens of prompt without {name}, {with_it} with {name}"
        return ("honoured" if abs(with_it - without) > MAX_SWITCH_TOKENS else "ignored"), evidence
    if greedy and more.text and not plain.text.startswith(more.text):
        return "honoured", f"another answer with {name}"
    return "can't tell", "the server counts no tokens, and the answers don't show it"


def _system(results: Results, plan: RequestPlan) -> Conclusion:
    if missing := _missing_in_protocol(plan, "has no system prompt"):
        return missing
    result = results.get("system")
    if result is not None and result.is_refused:
        return "can't tell", "the request, which also asked for no thinking, was refused"
    return _conclude_read("a system prompt", result, results["plain"], greedy=True)


def _history(results: Results, plan: RequestPlan) -> Conclusion:
    alone = results.get("turn")
    more = results.get("one token") if alone is None else alone
    return _conclude_read("an earlier turn", more, results["plain"], greedy=alone is not None)


def _usage(results: Results, plan: RequestPlan) -> Conclusion:
    usage = results["plain"].usage
    if missing := _missing_in_protocol(plan, "counts no tokens"):
        return missing
    counts = [f"{name} {usage[name]}" for name in ("prompt_tokens", "completion_tokens") if name in usage]
    return ("honoured", ", ".join(counts)) if counts else ("ignored", "no token counts were returned")


CONCLUSIONS: dict[str, Callable[[Results, RequestPlan], Conclusion]] = {
    "protocol and model": _protocol,
    "streaming": _streaming,
    "temperature": _temperature,
    "top_p": _top_p,
    "max_token": _max_token,
    "stop": _stop,
    "seed": _seed,
    "logprobs": _logprobs,
    "thinking": _thinking,
    "system prompt": _system,
    "history": _history,
    "usage": _usage,
}
"""The rows of the table, and the function that concludes each."""
