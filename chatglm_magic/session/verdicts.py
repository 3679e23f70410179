"""What can be concluded from the replies of a check: a verdict on each thing that a server may honour."""

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
Found = tuple[Verdict, str]
"""A verdict, and the evidence in words."""

AT_ONCE, BIT_BY_BIT = 0.02, 0.1
"""How long an answer arrives, as a part of the wait for its first piece. Below the first it was sent at once,
above the second it was streamed; between them a fast server behind a queue looks like either."""

WAITED = 0.2
"""Seconds; after a shorter wait an answer that arrives in pieces counts as streamed."""

NEAR = 0.7
"""How alike two answers at temperature 0 are, at least, where they differ by rounding alone."""

LEAST_LOGPROB = -100.0
"""What is below was cut by the server, which JSON has no infinity for."""

TOKENS_OF_A_SWITCH = 6
"""As many tokens of prompt may a template add or leave out for a switch, such as thinking."""


@dataclass
class Reply:
    """What came of one trial."""

    changed: tuple[Change, ...] = ()
    """What was changed of the trial before it was sent."""
    text: str = ""
    reasoning: str = ""
    pieces: int = 0
    first: float = 0.0
    """Seconds to the first piece; ``last`` to the last one."""
    last: float = 0.0
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    odds: list[TokenLogprobs] = field(default_factory=list)
    error: ChatGLMError | None = None

    def add_chunk(self, text: str, info: Mapping[str, Any], seconds: float) -> None:
        """Take in a chunk's text and its ``generation_info``, which came so many seconds after the request."""
        thought = info.get("reasoning") or ""
        if info.get("thought"):
            self.reasoning, self.text = self.reasoning + self.text, ""
        if text or thought:
            self.first = self.first or seconds
            self.last, self.pieces = seconds, self.pieces + 1
        self.text, self.reasoning = self.text + text, self.reasoning + thought
        self.usage = info.get("usage") or self.usage
        self.model = info.get("model") or self.model
        self.odds += info.get("logprobs") or ()

    @property
    def said(self) -> str:
        """All that the model wrote: the thinking, and the answer."""
        return self.reasoning + self.text

    @property
    def is_refused(self) -> bool:
        """Whether the server refused the request, as it stands."""
        return isinstance(self.error, ResponseError) and self.error.kind in ("bad_request", "not_found")

    @property
    def words(self) -> str:
        """The server's words, where it refused."""
        return one_line(str(self.error), 300) if self.error else ""

    @property
    def arrival(self) -> float | None:
        """How long the answer arrived, as a part of the wait for it; None for one that came in one piece."""
        if self.pieces < 2:
            return None
        return (self.last - self.first) / self.first if self.first > WAITED else math.inf

    @property
    def tokens(self) -> int | None:
        """How many tokens came: by the odds, else by the server's count."""
        counted = self.usage.get("completion_tokens")
        return len(self.odds) or (counted if isinstance(counted, int) else None)

    @property
    def thinks(self) -> bool:
        """Whether the model thought."""
        return bool(self.reasoning.strip()) or bool(reasoning_tokens_in(self.usage))

    @property
    def logprobs(self) -> dict[str, float]:
        """The candidates of the first token with their logarithms."""
        return {candidate.token: candidate.logprob for candidate in self.odds[0].top} if self.odds else {}


Replies = Mapping[str, Reply]


def word_of(text: str) -> str:
    """Return a word from the middle of an answer; empty if the answer is too short for one."""
    words = text.split()
    if len(words) > 3:
        return words[len(words) // 2].strip(".,;:!?。，；：！？")
    return text[3:5] if len(text) > 8 else ""


def measure_logprob_slope(plain: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Return how many times as far apart the other logarithms are; None where that can't be told.

    By least squares of the differences from the most likely token: 1 for raw ones, 1/T after a temperature T.
    """
    named = [token for token in plain if min(plain[token], other.get(token, -math.inf)) > LEAST_LOGPROB]
    if len(named) < 2:
        return None
    first = max(named, key=plain.__getitem__)
    pairs = [(plain[token] - plain[first], other[token] - other[first]) for token in named]
    spread = math.fsum(x * x for x, _ in pairs)
    return math.fsum(x * y for x, y in pairs) / spread if spread > 1e-4 else None


def _failure(*replies: Reply | None) -> Found | None:
    """Return the verdict where one of the requests failed or wasn't sent; None where all were answered."""
    for reply in replies:
        if reply is None:
            return "can't tell", "not sent: ten requests were used up"
        if reply.is_refused:
            return "refused", reply.words
        if reply.error is not None:
            return "can't tell", f"the request failed: {reply.words}"
    return None


def _unsent(plan: RequestPlan, lacks: str) -> Found | None:
    """Return the verdict where the protocol lacks something."""
    return ("can't tell", f"the ChatGLM protocol {lacks}") if plan.dialect == "chatglm" else None


def _protocol(replies: Replies, plan: RequestPlan) -> Found:
    spoken = "OpenAI's protocol" if plan.dialect == "openai" else "the ChatGLM protocol"
    wanted, served = plan.sent.get("model"), replies["plain"].model
    if not served:
        return "honoured", f"{spoken}, the model has no name"
    if wanted:
        names = sorted((_plain_name(wanted), _plain_name(served)), key=len)
        if not names[1].startswith(names[0]):  # an alias may stand for a dated or a tagged name
            return "ignored", f"{spoken}; model {wanted} was requested, {served} answered"
    return "honoured", f"{spoken}, model {served}"


def _plain_name(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].partition(":")[0].lower()


def _streaming(replies: Replies, plan: RequestPlan) -> Found:
    plain = replies["plain"]
    if unsent := _unsent(plan, "does not stream"):
        return unsent
    if plain.pieces < 2:
        return "ignored", "the answer came in one piece"
    # The first answer may have waited for a model to load: one that arrives bit by bit is enough.
    longer = [replies[name] for name in ("plain", "hot", "hot again", "another seed", "narrow") if name in replies]
    arrivals = [(reply.arrival, reply) for reply in longer if reply.arrival is not None]
    for arrival, reply in arrivals:
        if arrival > BIT_BY_BIT:
            return "honoured", f"{reply.pieces} pieces from {reply.first:.2f} to {reply.last:.2f} s"
    told = f"{plain.pieces} pieces came at once, {plain.first:.1f} s after the request"
    if min(arrival for arrival, _ in arrivals) < AT_ONCE:
        return "ignored", f"{told}: the server writes the whole answer first"
    return "can't tell", f"{told}, or very fast"


def _temperature(replies: Replies, plan: RequestPlan) -> Found:
    plain, hot, other = replies["plain"], replies.get("hot"), replies.get("another seed")
    if failed := _failure(hot, other):
        return failed
    assert hot is not None and other is not None
    if not plain.said and not hot.said:
        return "can't tell", "the answers are empty"
    high = "1" if "too hot" in replies or "seeded" in replies else "2"
    told = f"; 2 is refused: {replies['too hot'].words}" if "too hot" in replies else ""
    varies = hot.said != plain.said or other.said != plain.said
    again, narrow = replies.get("plain again"), replies.get("narrow")
    if again is not None and again.error is None and again.said != plain.said:
        if varies and SequenceMatcher(None, plain.said, again.said).ratio() > NEAR:
            return "can't tell", "at 0 two answers to one prompt differ a little"
        return "ignored", "at 0 two answers to one prompt differ"
    steady = any(reply is not None and reply.said == plain.said for reply in (again, narrow))
    if steady and not varies:
        return "ignored", f"at {high} two requests give the answer of 0"
    if steady:
        return "honoured", f"steady at 0, another answer at {high}{told}"
    return "can't tell", "no second answer at 0 was received"


def _top_p(replies: Replies, plan: RequestPlan) -> Found:
    narrow, plain = replies.get("narrow"), replies["plain"]
    if failed := _failure(narrow):
        return failed
    assert narrow is not None
    if _temperature(replies, plan)[0] != "honoured":
        return "can't tell", "only where the temperature is honoured"
    if narrow.said == plain.said:
        return "honoured", "0.01 at a high temperature gives the answer of temperature 0"
    return "ignored", "0.01 at a high temperature is not steady"


def _seed(replies: Replies, plan: RequestPlan) -> Found:
    if "seeded" in replies:
        return "refused", replies["seeded"].words
    hot, again, other = (replies.get(name) for name in ("hot", "hot again", "another seed"))
    if failed := _failure(hot, again, other):
        return failed
    assert hot is not None and again is not None and other is not None
    if hot.said != again.said:
        return "ignored", "one seed gave two texts"
    if hot.said == other.said:
        return "can't tell", "two seeds gave one text"
    return "honoured", "the same seed gave the same text, another seed another"


def _max_token(replies: Replies, plan: RequestPlan) -> Found:
    one, plain = replies.get("one token"), replies["plain"]
    if plan.dialect == "openai" and one is not None and one.error is not None:
        one = replies.get("turn")  # without the logprobs, which may have been refused
    if failed := _failure(one):
        return failed
    assert one is not None
    if one.tokens is not None and plan.dialect == "openai":
        told = f"requested 1 token, got {one.tokens}"
        return ("honoured", told) if one.tokens <= 1 else ("ignored", told)
    told = f"{plural(len(one.said), 'character')} with a low max_token, {len(plain.said)} with a higher one"
    return ("honoured", told) if len(one.said) < len(plain.said) else ("can't tell", told)


def _stop(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "has no stop sequences"):
        return unsent
    word = word_of(replies["plain"].text)
    if not word:
        return "can't tell", "the first answer is too short to stop in"
    reply = replies.get("stop")
    if failed := _failure(reply):
        return failed
    assert reply is not None
    if word in reply.text:
        return "ignored", f"the answer goes on past {word!r}; it is cut here all the same"
    return "honoured", f"the answer ended before {word!r}"


def _logprobs(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "has no log probabilities"):
        return unsent
    one, warm = replies.get("one token"), replies.get("one warm token")
    if failed := _failure(one):
        return failed
    assert one is not None
    if not one.logprobs:
        return "ignored", "none were returned"
    count = f"{plural(len(one.logprobs), 'candidate')} for a token"
    found = measure_logprob_slope(one.logprobs, warm.logprobs) if warm is not None and not warm.changed else None
    if found is not None and abs(found - 1) < 0.1:
        return "honoured", f"{count}: raw, the model's own"
    if found is not None and abs(found - 2) < 0.2:
        return "honoured", f"{count}: tempered, after the temperature"
    return "can't tell", f"{count}; can't tell whether they are raw or tempered"


def _thinking(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "does not report thinking"):
        return unsent
    plain, off = replies["plain"], replies.get("system")
    by_default = "the model didn't think by default"
    if failed := _failure(off):
        return failed if plain.thinks else ("can't tell", by_default)
    assert off is not None
    apart = "apart from the answer" if plain.reasoning else "counted, not shown"
    changed = next((change for change in off.changed if change.name == "thinking"), None)
    if changed is not None:
        return "can't tell", f"{changed}; {apart}" if plain.thinks else changed
    if off.thinks:
        return "ignored", f"still thinks with thinking=off; {apart}"
    return ("honoured", f"thinks unless it is off; {apart}") if plain.thinks else ("can't tell", by_default)


def _prompt_tokens(reply: Reply) -> int | None:
    counted = reply.usage.get("prompt_tokens")
    return counted if isinstance(counted, int) else None


def _is_read(name: str, more: Reply | None, plain: Reply, *, greedy: bool) -> Found:
    """Tell by the count of the prompt's tokens whether further text reached the model; else by a greedy answer."""
    if failed := _failure(more):
        return failed
    assert more is not None
    without, with_it = _prompt_tokens(plain), _prompt_tokens(more)
    if without is not None and with_it is not None:
        evidence = f"{without} tokens of prompt without {name}, {with_it} with {name}"
        return ("honoured" if abs(with_it - without) > TOKENS_OF_A_SWITCH else "ignored"), evidence
    if greedy and more.text and not plain.text.startswith(more.text):
        return "honoured", f"another answer with {name}"
    return "can't tell", "the server counts no tokens, and the answers don't show it"


def _system(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "has no system prompt"):
        return unsent
    reply = replies.get("system")
    if reply is not None and reply.is_refused:
        return "can't tell", "the request, which also asked for no thinking, was refused"
    return _is_read("a system prompt", reply, replies["plain"], greedy=True)


def _history(replies: Replies, plan: RequestPlan) -> Found:
    alone = replies.get("turn")
    more = replies.get("one token") if alone is None else alone
    return _is_read("an earlier turn", more, replies["plain"], greedy=alone is not None)


def _usage(replies: Replies, plan: RequestPlan) -> Found:
    usage = replies["plain"].usage
    if unsent := _unsent(plan, "counts no tokens"):
        return unsent
    counts = [f"{name} {usage[name]}" for name in ("prompt_tokens", "completion_tokens") if name in usage]
    return ("honoured", ", ".join(counts)) if counts else ("ignored", "no token counts were returned")


CONCLUSIONS: dict[str, Callable[[Replies, RequestPlan], Found]] = {
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
"""The rows of the table, and how each is concluded from the replies."""
