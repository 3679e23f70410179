"""Tool calls that a server left in the text of an answer, as GLM models write them.

GLM-4.5 and later write calls between tags (:mod:`.tool_markup`). GLM-4-9B writes the name on a line and JSON on
the next, ChatGLM3 the name and a fenced ``tool_call(key='value')``. Sources: the models' chat templates, and
issues about faulty parsers of servers (zai-org/GLM-4.5#40; vllm#32213, #49248, #42400, #39574).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..values import Delta, ToolCallPiece
from .text_filters import CodeTracker, tail_match
from .tool_arguments import cast_arguments, dump_arguments, parse_keywords, parse_object
from .tool_markup import CALL_CLOSE, CALL_OPEN, KEY_OPEN, MAX_NAME_CHARS, ParsedCall, TaggedCall

AFTER_CALL = re.compile(r"\s*(?:<\|[a-z]+\|>\s*)*(?:<(?:\|[a-z]*\|?)?)?")
SPECIAL_TOKENS = re.compile(r"\s*(?:<\|[a-z]+\|>\s*)*")
"""Special tokens, such as ``<|observation|>``, that some servers leave at the end of a text."""

FENCED_CALL = re.compile(r"\s*```(?:python)?\s*\ntool_call\((?P<arguments>.*)\)\s*```", re.DOTALL)
AFTER_CALL_MARKS = ("\n", "\r", CALL_OPEN, "<|")
"""What may follow a call, besides spaces and tabs."""

MAX_CALL_CHARS = 2**18
"""Longer calls stay text, so that a server can't cause ever longer searches."""


class ToolTextReader:
    """Extracts tool calls from text that comes in pieces; no part of a call is passed on as text.

    Text that only mentions the tags stays text: in code, and if it names no bound tool. The result doesn't depend
    on how the text is cut into pieces.

    :param tools: the bound tools, as functions in OpenAI's form.
    :param seed: what the ids of calls are derived from, so that an answer from a tape has the same ids as before;
        an agent's next request repeats them.
    """

    def __init__(self, tools: Sequence[Mapping[str, Any]], seed: str = "") -> None:
        self._seed = seed
        functions = [tool["function"] for tool in tools if isinstance(tool.get("function"), Mapping)]
        self._schemas = {function["name"]: function.get("parameters") or {} for function in functions}
        self.blocks: list[str] = []
        """The text of each call."""
        self._reset()

    def _reset(self) -> None:
        self._held = ""
        self._waiting: list[str] = []
        """Text after the held text that needn't be parsed yet."""
        self._size = 0
        self._is_whole_call = False
        """Whether the whole answer is held, since it looks like a call of GLM-4-9B or ChatGLM3."""
        self._block: TaggedCall | None = None
        self._code = CodeTracker()
        self._is_first = self._at_line_start = True
        """Whether the answer, and the current line, has only whitespace so far."""
        self._after_call = False

    def feed(self, delta: Delta) -> list[Delta]:
        """Process a piece; return the pieces to pass on instead."""
        deltas = self._read(delta.text) if delta.text else []
        if delta.finish_reason:
            deltas += self.close()
        if delta.thought:  # all text so far was thinking
            self._reset()
        rest = delta._replace(text="")
        return deltas if delta.text and rest == _EMPTY else [*deltas, rest]

    def close(self) -> list[Delta]:
        """Finish the answer; return what was held back, as a call or as text."""
        held, block = self._held + "".join(self._waiting), self._block
        self._held, self._block, self._waiting = "", None, []
        if block is not None:
            end = len(held) if block.ends_at is None else block.ends_at
            call = block.parse_incomplete(held) if block.ends_at is None else block.call
            rest = held[end:] if SPECIAL_TOKENS.fullmatch(held, end) is None else ""
            return (
                [self._call_delta(call, held[:end]), *([Delta(text=rest)] if rest else [])]
                if call
                else [Delta(text=held)]
            )
        if not held or (self._after_call and SPECIAL_TOKENS.fullmatch(held)):
            return []
        call = self._parse_whole(held) if self._is_first else None
        return [self._call_delta(call, held)] if call else [Delta(text=held)]

    def _read(self, text: str) -> list[Delta]:
        self._waiting.append(text)
        self._size += len(text)
        block = self._block
        is_inside_call = block is not None and block.has_begun and block.ends_at is None and ">" not in text
        if (is_inside_call or self._is_whole_call) and self._size < MAX_CALL_CHARS:
            return []  # nothing ends here
        self._held, self._waiting = self._held + "".join(self._waiting), []
        self._size = len(self._held)
        if self._size >= MAX_CALL_CHARS:
            held, self._held, self._block, self._is_first, self._is_whole_call = self._held, "", None, False, False
            return [Delta(text=held)]
        deltas: list[Delta] = []
        while self._held:
            step = self._read_text() if self._block is None else self._read_block(self._block)
            if step is None:
                break
            deltas += step
        return deltas

    def _read_text(self) -> list[Delta] | None:
        """Return text up to what may begin a call; None if the whole held text may be one."""
        held = self._held
        blanks = len(held) - len(held.lstrip())
        if self._after_call:
            if held.startswith(CALL_OPEN, blanks):
                self._held, self._after_call = held[blanks:], False
                return []
            if len(held) < MAX_NAME_CHARS and (CALL_OPEN.startswith(held[blanks:]) or AFTER_CALL.fullmatch(held)):
                return None
            self._after_call = False
        if self._at_line_start and blanks:
            return self._release(blanks)
        if self._is_first and self._may_be_whole_call(held):
            return None
        if self._at_line_start and not self._code.is_inside_code:
            begins = self._begins_untagged(held)
            if begins is None:
                return None
            if begins:
                self._block = TaggedCall(self._schemas, tag="")
                return []
        tag_position, line_end = held.find(CALL_OPEN), held.find("\n") + 1
        if tag_position == 0 and not self._code.is_inside_code:
            self._block = TaggedCall(self._schemas, tag=CALL_OPEN)
            return []
        if tag_position == 0:
            return self._release(len(CALL_OPEN))
        ends = [end for end in (tag_position, line_end) if end > 0]
        return self._release(min(ends) if ends else len(held) - tail_match(held, CALL_OPEN))

    def _release(self, length: int) -> list[Delta] | None:
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return None
        self._code.read(text)
        blank = not text.strip()
        self._is_first = self._is_first and blank
        self._at_line_start = text.endswith("\n") or (self._at_line_start and blank)
        return [Delta(text=text)]

    def _read_block(self, block: TaggedCall) -> list[Delta] | None:
        """Return the held call once it is complete; None until then."""
        end = block.find_end(self._held)
        if end is None:
            return None
        if block.call is None:  # text that contains the tag
            self._block = None
            return self._release(len(block.tag) or 1)
        rest = self._held[end:].lstrip(" \t")
        if len(self._held) - end < MAX_NAME_CHARS and any(each.startswith(rest) for each in AFTER_CALL_MARKS):
            return None
        self._block = None
        if not rest.startswith(AFTER_CALL_MARKS):  # the sentence continues: it mentions the call
            return self._release(end)
        text, self._held, self._after_call = self._held[:end], self._held[end:], True
        return [self._call_delta(block.call, text)]

    def _begins_untagged(self, beginning: str) -> bool | None:
        """Return whether a line is a call without its opening tag; None if more text is needed."""
        for name in self._schemas:
            if beginning and name.startswith(beginning):
                return None
            if beginning.startswith(name):
                rest = beginning[len(name) :].lstrip()
                if rest.startswith((KEY_OPEN, CALL_CLOSE)):
                    return True
                if KEY_OPEN.startswith(rest) or CALL_CLOSE.startswith(rest):
                    return None
        return False

    def _may_be_whole_call(self, beginning: str) -> bool:
        """Return whether the beginning of an answer can be a call in the format of GLM-4-9B or ChatGLM3."""
        for name in self._schemas:
            if beginning and name.startswith(beginning):
                return True
            rest = beginning[len(name) :]
            if beginning.startswith(name) and rest[0].isspace() and len(rest) < MAX_NAME_CHARS:
                if "\n" not in rest[: len(rest) - len(rest.lstrip())]:
                    if not rest.strip():
                        return True
                    continue
                after_blanks = rest.lstrip()
                self._is_whole_call = after_blanks.startswith(("{", "```"))
                if self._is_whole_call or "```".startswith(after_blanks):
                    return True
        return False

    def _parse_whole(self, held: str) -> ParsedCall | None:
        """Parse a whole answer in the format of GLM-4-9B or ChatGLM3."""
        beginning = held.lstrip()
        name = max((name for name in self._schemas if beginning.startswith(name)), key=len, default="")
        rest = beginning[len(name) :]
        if not name or not rest[:1].isspace():
            return None
        if rest.lstrip().startswith("{"):
            values = parse_object(rest)
            properties = self._schemas[name].get("properties") or {}
            if values is None or not values.keys() <= properties.keys():
                return None
            return ParsedCall(name, dump_arguments(cast_arguments(values, self._schemas[name])))
        fence = FENCED_CALL.match(rest)
        if fence is None or SPECIAL_TOKENS.fullmatch(rest, fence.end()) is None:
            return None
        values = parse_keywords(fence["arguments"])
        return None if values is None else ParsedCall(name, dump_arguments(values))

    def _call_delta(self, call: ParsedCall, text: str) -> Delta:
        number = len(self.blocks)
        self.blocks.append(text)
        self._is_first = False
        call_id = f"call_{hashlib.sha256(f'{number} {self._seed}'.encode()).hexdigest()[:24]}"
        return Delta(tool_calls=(ToolCallPiece(number, call_id, call.name, call.arguments),))


_EMPTY = Delta()
