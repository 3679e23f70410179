"""What can be concluded from the replies of a check: a verdict on each thing that a server may honour."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ChatGLMError, ResponseError
from ..llm.request_plan import RequestPlan
from ..render.text import one_line, plural
from ..values import Odds, reasoning_tokens_in

Verdict = Literal["honoured", "ignored", "refused", "can't tell"]
Found = tuple[Verdict, str]
"""A verdict, and the evidence in words."""

WAITED, SPREAD = 0.2, 0.1
"""An answer that is waited for longer than the first, in seconds, and then arrives within this part of it, was not
streamed but sent at once."""


@dataclass
class Reply:
    """What came of one trial."""

    text: str = ""
    reasoning: str = ""
    pieces: int = 0
    first: float = 0.0
    """Seconds to the first piece; ``last`` to the last one."""
    last: float = 0.0
    finish_reason: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    odds: list[Odds] = field(default_factory=list)
    error: ChatGLMError | None = None

    @property
    def refused(self) -> bool:
        """Whether the server refused the request, as it stands."""
        return isinstance(self.error, ResponseError) and self.error.kind in ("bad_request", "not_found")

    @property
    def words(self) -> str:
        """The server's words, where it refused."""
        return one_line(str(self.error), 300) if self.error else ""

    @property
    def came_at_once(self) -> bool:
        """Whether all pieces came together, after a wait."""
        return self.first > WAITED and self.last - self.first < SPREAD * self.first

    @property
    def tokens(self) -> int | None:
        """How many tokens came: by the odds, else by the server's count."""
        counted = self.usage.get("completion_tokens")
        return len(self.odds) or (counted if isinstance(counted, int) else None)

    @property
    def logprobs(self) -> dict[str, float]:
        """The candidates of the first token with their logarithms."""
        return {candidate.token: candidate.logprob for candidate in self.odds[0].top} if self.odds else {}


def word_of(text: str) -> str:
    """Return a word from the middle of an answer that stands in it once at least; empty if it has too few."""
    words = text.split()
    return (
        words[len(words) // 2].strip(".,;:!?。，；：！？")
        if len(words) > 3
        else text[3:5]
        if len(text) > 8
        else ""
    )


Replies = Mapping[str, Reply]


def slope(plain: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Return how many times as far apart the other logarithms are; None where that can't be told.

    Differences from the likeliest token, by least squares: raw ones have 1, those after a temperature T have 1/T.
    """
    named = [token for token in plain if token in other]
    if len(named) < 2:
        return None
    first = max(named, key=plain.__getitem__)
    pairs = [(plain[token] - plain[first], other[token] - other[first]) for token in named]
    spread = math.fsum(x * x for x, _ in pairs)
    return math.fsum(x * y for x, y in pairs) / spread if spread > 1e-4 else None


def _refusal(*replies: Reply) -> Found | None:
    """Return the verdict where one of the requests failed: refused in the server's words, or not to be told."""
    for reply in replies:
        if reply.refused:
            return "refused", reply.words
        if reply.error is not None:
            return "can't tell", f"the request failed: {reply.words}"
    return None


def _unsent(plan: RequestPlan, lacks: str) -> Found | None:
    """Return the verdict where the protocol lacks something."""
    return ("can't tell", f"ChatGLM's own protocol {lacks}") if plan.dialect == "chatglm" else None


def _protocol(replies: Replies, plan: RequestPlan) -> Found:
    spoken = "OpenAI's protocol" if plan.dialect == "openai" else "ChatGLM's own protocol"
    wanted, served = plan.sent.get("model"), replies["plain"].model
    if wanted and served and wanted.rpartition("/")[2] != served.rpartition("/")[2]:
        return "ignored", f"{spoken}; model {wanted} was asked for, {served} answered"
    return "honoured", f"{spoken}, {f'model {served}' if served else 'the model has no name'}"


def _streaming(replies: Replies, plan: RequestPlan) -> Found:
    plain = replies["plain"]
    if unsent := _unsent(plan, "does not stream"):
        return unsent
    if plain.pieces < 2:
        return "ignored", "the answer came in one piece"
    # The first answer may have waited for a model to load: one that arrives bit by bit is enough.
    longer = [replies[name] for name in ("plain", "hot", "hot again", "another seed", "narrow")]
    streamed = [reply for reply in longer if reply.pieces > 1 and not reply.came_at_once]
    if not streamed:
        told = f"{plain.pieces} pieces came at once, {plain.first:.1f} s after the request"
        return "ignored", f"{told}: the server writes the whole answer first"
    first = streamed[0]
    return "honoured", f"{first.pieces} pieces from {first.first:.2f} to {first.last:.2f} s"


def _temperature(replies: Replies, plan: RequestPlan) -> Found:
    plain, hot, other, narrow = (replies[name] for name in ("plain", "hot", "another seed", "narrow"))
    if refused := _refusal(hot, other):
        return refused
    again = replies.get("plain again")
    steady = (again is not None and again.text == plain.text) or narrow.text == plain.text
    varies = hot.text != plain.text or other.text != plain.text
    if again is not None and again.error is None and again.text != plain.text:
        return "ignored", "at 0 two answers to one prompt differ"
    if steady and not varies:
        return "ignored", "at 2 two seeds give the answer of 0"
    if steady:
        return "honoured", "steady at 0, another answer at 2"
    return "can't tell", "the second answer at 0 did not come"


def _top_p(replies: Replies, plan: RequestPlan) -> Found:
    narrow, plain = replies["narrow"], replies["plain"]
    if refused := _refusal(narrow):
        return refused
    if _temperature(replies, plan)[0] != "honoured":
        return "can't tell", "only where the temperature is honoured"
    if narrow.text == plain.text:
        return "honoured", "0.01 at temperature 2 gives the answer of temperature 0"
    return "ignored", "0.01 at temperature 2 is not steady"


def _seed(replies: Replies, plan: RequestPlan) -> Found:
    hot, again, other = (replies[name] for name in ("hot", "hot again", "another seed"))
    if refused := _refusal(hot, again, other):
        return refused
    if hot.text != again.text:
        return "ignored", "one seed gave two texts"
    if hot.text == other.text:
        return "can't tell", "two seeds gave one text"
    return "honoured", "the same seed gave the same text, another seed another"


def _max_token(replies: Replies, plan: RequestPlan) -> Found:
    one, plain = replies["one token"], replies["plain"]
    if one.refused and plan.dialect == "openai":  # for its logprobs: they are left out of the next one
        one = replies["turn"]
    if refused := _refusal(one):
        return refused
    tokens = one.tokens
    if tokens is not None and plan.dialect == "openai":
        more = f"1 was asked for, {plural(tokens, 'token')} came"
        return ("honoured", more) if tokens <= 1 else ("ignored", more)
    told = f"{len(one.text)} characters with a low max_token, {len(plain.text)} with a higher one"
    return ("honoured", told) if len(one.text) < len(plain.text) else ("can't tell", told)


def _stop(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "has no stop sequences"):
        return unsent
    word, reply = word_of(replies["plain"].text), replies.get("stop")
    if reply is None:
        return "can't tell", "the first answer is too short to stop in"
    if refused := _refusal(reply):
        return refused
    if word in reply.text:
        return "ignored", f"the answer goes on past {word!r}; it is cut here all the same"
    return "honoured", f"the answer ended before {word!r}"


def _logprobs(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "has no log probabilities"):
        return unsent
    one, hot = replies["one token"], replies.get("one hot token")
    if refused := _refusal(one):
        return refused
    if not one.logprobs:
        return "ignored", "none came"
    count = plural(len(one.logprobs), "candidate")
    found = slope(one.logprobs, hot.logprobs) if hot is not None and hot.logprobs else None
    if found is None:
        return "can't tell", f"{count} for a token; whose they are can't be told"
    if abs(found - 1) < 0.1:
        return "honoured", f"{count} for a token: raw, the model's own"
    if abs(found - 0.5) < 0.05:
        return "honoured", f"{count} for a token: tempered, after the temperature"
    return "can't tell", f"{count} for a token; at two temperatures they do not fit together"


def _thinking(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "does not tell of thinking"):
        return unsent
    plain, off = replies["plain"], replies["system"]
    thought = bool(plain.reasoning) or bool(reasoning_tokens_in(plain.usage))
    apart = "apart from the answer" if plain.reasoning else "counted, not shown"
    if refused := _refusal(off):
        return refused if thought else ("can't tell", "the model does not think unasked")
    still = bool(off.reasoning) or bool(reasoning_tokens_in(off.usage))
    if still:
        return "ignored", f"with off it thinks all the same; {apart}"
    if thought:
        return "honoured", f"thinks unless it is off; {apart}"
    return "can't tell", "the model did not think, asked for nothing"


def _prompt_tokens(reply: Reply) -> int | None:
    counted = reply.usage.get("prompt_tokens")
    return counted if isinstance(counted, int) else None


def _is_read(name: str, more: Reply, plain: Reply, *, greedy: bool) -> Found:
    """Tell by the count of the prompt's tokens whether further text reached the model; else by a greedy answer."""
    if refused := _refusal(more):
        return refused
    without, with_it = _prompt_tokens(plain), _prompt_tokens(more)
    if without is not None and with_it is not None:
        evidence = f"{without} tokens of prompt without {name}, {with_it} with {name}"
        return ("honoured", evidence) if with_it > without + 3 else ("ignored", evidence)
    if greedy and more.text and not plain.text.startswith(more.text):
        return "honoured", f"another answer with {name}"
    return "can't tell", "the server counts no tokens, and the answers don't show it"


def _system(replies: Replies, plan: RequestPlan) -> Found:
    if unsent := _unsent(plan, "has no system prompt"):
        return unsent
    if replies["system"].refused:
        return "can't tell", "the request, which asked for no thinking too, was refused"
    return _is_read("a system prompt", replies["system"], replies["plain"], greedy=True)


def _history(replies: Replies, plan: RequestPlan) -> Found:
    alone = replies.get("turn")
    more = replies["one token"] if alone is None else alone
    return _is_read("an earlier turn", more, replies["plain"], greedy=alone is not None)


def _usage(replies: Replies, plan: RequestPlan) -> Found:
    usage = replies["plain"].usage
    if unsent := _unsent(plan, "counts no tokens"):
        return unsent
    counts = [f"{name} {usage[name]}" for name in ("prompt_tokens", "completion_tokens") if name in usage]
    return ("honoured", ", ".join(counts)) if counts else ("ignored", "no token counts came")


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
