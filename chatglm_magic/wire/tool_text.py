"""Tool calls that a server left in the text of an answer, as GLM models write them.

GLM-4.5 and later write ``<tool_call>NAME``, then ``<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>`` for each
argument, and ``</tool_call>``; line breaks may stand between. GLM-4-9B writes the name on a line and JSON on the
next, ChatGLM3 the name and a fenced ``tool_call(key='value')``. Sources: the models' chat templates, and the
faults of servers' parsers in the issues of projects (zai-org/GLM-4.5#40; vllm#32213, #49248, #42400, #39574).
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

from ..strictjson import strict_json
from ..values import Delta, ToolCallPiece
from .json_schema import Schema, cast_text, is_valid
from .text_filters import CodeTracker, tail_match

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
KEY_OPEN, KEY_CLOSE, VALUE_OPEN, VALUE_CLOSE = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
NAME_ENDS = re.compile(r"[\n<{]")
STRAY_TAGS = (VALUE_CLOSE, KEY_CLOSE)
"""Tags that faulty parsers leave behind a name."""

AFTER_NAME = (KEY_OPEN, CALL_CLOSE, CALL_OPEN, "{")
"""What may stand behind the name of a call."""

NAMED_JSON = re.compile(r'\{\s*"name"\s*:\s*"([^"\\]*)"')
NAMED_JSON_BEGINNING = re.compile(r'\{\s*(?:"(?:n(?:a(?:m(?:e(?:"\s*(?::\s*(?:"[^"\\]*)?)?)?)?)?)?)?)?')

AFTER_CALL = re.compile(r"\s*(?:<\|[a-z]+\|>\s*)*(?:<(?:\|[a-z]*\|?)?)?")
SPECIAL_TOKENS = re.compile(r"\s*(?:<\|[a-z]+\|>\s*)*")
"""Special tokens, such as ``<|observation|>``, that some servers leave at the end of a text."""

FENCED_CALL = re.compile(r"\s*```(?:python)?\s*\ntool_call\((?P<arguments>.*)\)\s*```", re.DOTALL)
AFTER_CALL_MARKS = ("\n", "\r", CALL_OPEN, "<|")
"""What stands behind a call if something does, besides blanks."""

STRING_MARKS = re.compile(r'\\.|"', re.DOTALL)
MAX_NAME_CHARS = 256
MAX_CALL_CHARS = 2**18
"""Characters of a call. What is longer stays text, so that a server can't have more and more looked through."""


class ParsedCall(NamedTuple):
    """A call that was read in a text. ``arguments`` is JSON, or the text itself where it can't be read."""

    name: str
    arguments: str


class ToolTextReader:
    """Takes the text of an answer in pieces, and the calls out of it; no part of a call is handed out as text.

    Text that only mentions the tags stays text: in code, and where no bound tool is named. What comes out doesn't
    depend on how the text is cut into pieces.

    :param tools: the bound tools, as functions in OpenAI's form.
    :param seed: what the ids of calls are made of. An answer from a tape has the same ids again, and so has an
        agent's next request, which repeats them.
    """

    def __init__(self, tools: Sequence[Mapping[str, Any]], seed: str = "") -> None:
        self._seed = seed
        functions = [tool["function"] for tool in tools if isinstance(tool.get("function"), Mapping)]
        self._schemas = {function["name"]: function.get("parameters") or {} for function in functions}
        self.blocks: list[str] = []
        """The text of each call that was read."""
        self._begin()

    def _begin(self) -> None:
        self._held = ""
        self._waiting: list[str] = []
        """Text behind what is held that needn't be looked at yet."""
        self._size = 0
        self._is_whole = False
        """Whether all of the answer is held: it looks like a call of GLM-4-9B or ChatGLM3."""
        self._block: TaggedCall | None = None
        self._code = CodeTracker()
        self._first = self._line_begins = True
        """Whether only blanks have come; whether only blanks have come in this line."""
        self._after_call = False

    def feed(self, delta: Delta) -> list[Delta]:
        """Take in a piece; return the pieces to hand out in its place."""
        found = self._take(delta.text) if delta.text else []
        if delta.finish_reason:
            found += self.close()
        if delta.thought:  # all text so far was thinking
            self._begin()
        rest = delta._replace(text="")
        return found if delta.text and rest == _EMPTY else [*found, rest]

    def close(self) -> list[Delta]:
        """End the answer; return what was held back, as a call or as text."""
        held, block = self._held + "".join(self._waiting), self._block
        self._held, self._block, self._waiting = "", None, []
        if block is not None:
            end = len(held) if block.ends_at is None else block.ends_at
            call = block.cut(held) if block.ends_at is None else block.call
            rest = held[end:] if SPECIAL_TOKENS.fullmatch(held, end) is None else ""
            return (
                [self._call(call, held[:end]), *([Delta(text=rest)] if rest else [])]
                if call
                else [Delta(text=held)]
            )
        if not held or (self._after_call and SPECIAL_TOKENS.fullmatch(held)):
            return []
        call = self._whole(held) if self._first else None
        return [self._call(call, held)] if call else [Delta(text=held)]

    def _take(self, text: str) -> list[Delta]:
        self._waiting.append(text)
        self._size += len(text)
        block = self._block
        waits = block is not None and block.begun and block.ends_at is None and ">" not in text
        if (waits or self._is_whole) and self._size < MAX_CALL_CHARS:
            return []  # nothing ends here
        self._held, self._waiting = self._held + "".join(self._waiting), []
        self._size = len(self._held)
        if self._size >= MAX_CALL_CHARS:
            held, self._held, self._block, self._first, self._is_whole = self._held, "", None, False, False
            return [Delta(text=held)]
        found: list[Delta] = []
        while self._held:
            step = self._in_text() if self._block is None else self._in_block(self._block)
            if step is None:
                break
            found += step
        return found

    def _in_text(self) -> list[Delta] | None:
        """Hand out text up to what may begin a call; None if all that is held may be one."""
        held = self._held
        blanks = len(held) - len(held.lstrip())
        if self._after_call:
            if held.startswith(CALL_OPEN, blanks):
                self._held, self._after_call = held[blanks:], False
                return []
            if len(held) < MAX_NAME_CHARS and (CALL_OPEN.startswith(held[blanks:]) or AFTER_CALL.fullmatch(held)):
                return None
            self._after_call = False
        if self._line_begins and blanks:
            return self._hand_out(blanks)
        if self._first and self._may_be_whole(held):
            return None
        if self._line_begins and not self._code.is_inside_code:
            begins = self._begins_untagged(held)
            if begins is None:
                return None
            if begins:
                self._block = TaggedCall(self._schemas, tag="")
                return []
        place, line = held.find(CALL_OPEN), held.find("\n") + 1
        if place == 0 and not self._code.is_inside_code:
            self._block = TaggedCall(self._schemas, tag=CALL_OPEN)
            return []
        if place == 0:
            return self._hand_out(len(CALL_OPEN))
        ends = [end for end in (place, line) if end > 0]
        return self._hand_out(min(ends) if ends else len(held) - tail_match(held, CALL_OPEN))

    def _hand_out(self, length: int) -> list[Delta] | None:
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return None
        self._code.read(text)
        blank = not text.strip()
        self._first = self._first and blank
        self._line_begins = text.endswith("\n") or (self._line_begins and blank)
        return [Delta(text=text)]

    def _in_block(self, block: TaggedCall) -> list[Delta] | None:
        """Read the call that is held, once it is whole; None as long as it isn't."""
        end = block.end(self._held)
        if end is None:
            return None
        if block.call is None:  # text that has the tag in it
            self._block = None
            return self._hand_out(len(block.tag) or 1)
        behind = self._held[end:].lstrip(" \t")
        if len(self._held) - end < MAX_NAME_CHARS and any(each.startswith(behind) for each in AFTER_CALL_MARKS):
            return None
        self._block = None
        if not behind.startswith(AFTER_CALL_MARKS):  # a sentence goes on: it speaks of the call
            return self._hand_out(end)
        text, self._held, self._after_call = self._held[:end], self._held[end:], True
        return [self._call(block.call, text)]

    def _begins_untagged(self, begun: str) -> bool | None:
        """Tell whether a line is a call whose opening tag is missing; None if more must come to tell."""
        for name in self._schemas:
            if begun and name.startswith(begun):
                return None
            if begun.startswith(name):
                rest = begun[len(name) :].lstrip()
                if rest.startswith((KEY_OPEN, CALL_CLOSE)):
                    return True
                if KEY_OPEN.startswith(rest) or CALL_CLOSE.startswith(rest):
                    return None
        return False

    def _may_be_whole(self, begun: str) -> bool:
        """Tell whether a text from its first word on can be a call in the manner of GLM-4-9B or ChatGLM3."""
        for name in self._schemas:
            if begun and name.startswith(begun):
                return True
            rest = begun[len(name) :]
            if begun.startswith(name) and rest[0].isspace() and len(rest) < MAX_NAME_CHARS:
                if "\n" not in rest[: len(rest) - len(rest.lstrip())]:
                    if not rest.strip():
                        return True
                    continue
                begins = rest.lstrip()
                self._is_whole = begins.startswith(("{", "```"))
                if self._is_whole or "```".startswith(begins):
                    return True
        return False

    def _whole(self, held: str) -> ParsedCall | None:
        """Read a whole answer in the manner of GLM-4-9B or ChatGLM3."""
        begun = held.lstrip()
        name = max((name for name in self._schemas if begun.startswith(name)), key=len, default="")
        rest = begun[len(name) :]
        if not name or not rest[:1].isspace():
            return None
        if rest.lstrip().startswith("{"):
            values = parse_object(rest)
            known = self._schemas[name].get("properties") or {}
            if values is None or not values.keys() <= known.keys():
                return None
            return ParsedCall(name, dump(cast_arguments(values, self._schemas[name])))
        fenced = FENCED_CALL.match(rest)
        if fenced is None or SPECIAL_TOKENS.fullmatch(rest, fenced.end()) is None:
            return None
        values = parse_keywords(fenced["arguments"])
        return None if values is None else ParsedCall(name, dump(values))

    def _call(self, call: ParsedCall, text: str) -> Delta:
        number = len(self.blocks)
        self.blocks.append(text)
        self._first = False
        call_id = f"call_{hashlib.sha256(f'{number} {self._seed}'.encode()).hexdigest()[:24]}"
        return Delta(tool_calls=(ToolCallPiece(number, call_id, call.name, call.arguments),))


_EMPTY = Delta()


class TaggedCall:
    """One call between its tags, read as it comes: each character once, however many pieces they come in.

    :param tag: the opening tag; empty where it is missing.
    """

    def __init__(self, schemas: Mapping[str, Schema], tag: str) -> None:
        self.tag = tag
        self.call: ParsedCall | None = None
        """The call, once :meth:`end` has found its end; None if it is none."""
        self.begun = False
        """Whether the name has come, and what must follow it."""
        self.ends_at: int | None = None
        """Where the call ends in what is held, once that has come."""
        self._schemas = schemas
        self._name = ""
        self._read = self._looked = self._scanned = 0
        """How far arguments are read; how far the closing tag was looked for."""
        self._key_end = -1
        self._in_string = False
        self._values: dict[str, Any] = {}
        self._is_json = self._is_named = self._is_broken = False

    def end(self, held: str) -> int | None:
        """Return where the call ends in what is held; None if more must come. Without a bound tool it is 0."""
        if self.ends_at is not None:
            return self.ends_at
        if not self.begun:
            begins = self._begin(held)
            if begins is None:
                return None
            if not begins:
                return 0
        if self._is_json:
            self.ends_at = self._end_of_json(held)
            return self.ends_at
        while not self._is_broken and (argument := self._argument(held)):
            if argument == "wait":
                return None
        self.ends_at = self._end_of_arguments(held)
        return self.ends_at

    def cut(self, held: str) -> ParsedCall | None:
        """Return the call of an answer that ended within it: invalid, with its text for arguments."""
        return self._invalid(held) if self._name else None

    def _invalid(self, text: str) -> ParsedCall:
        """Return a call whose arguments are its text, which is no JSON object."""
        inside = text[len(self.tag) :]
        return ParsedCall(self._name, inside if parse_object(inside) is None else CALL_OPEN + inside)

    def _begin(self, held: str) -> bool | None:
        """Read the name; return whether it is a bound tool's, None if more must come first."""
        start = self._skip(held[:MAX_NAME_CHARS], len(self.tag))
        begun = held[start : start + MAX_NAME_CHARS]
        if start >= MAX_NAME_CHARS:
            return False
        if begun.startswith("{"):
            return self._begin_json(begun, start)
        ends = NAME_ENDS.search(begun)
        name = begun[: ends.start()].strip() if ends else begun.strip()
        self._name = name if name in self._schemas else ""
        if ends is None:
            waits = len(begun) < MAX_NAME_CHARS and any(known.startswith(name) for known in self._schemas)
            return None if waits else False
        place = start + ends.start()
        while tag := next((tag for tag in STRAY_TAGS if held.startswith(tag, self._skip(held, place))), ""):
            place = self._skip(held, place) + len(tag)
        if len(held) - start > 4 * MAX_NAME_CHARS:
            return False
        rest = held[self._skip(held, place) :]
        if not self._name or not any(
            tag.startswith(rest) or rest.startswith(tag) for tag in (*AFTER_NAME, *STRAY_TAGS)
        ):
            return False
        if not rest.startswith(AFTER_NAME):
            return None
        self.begun, self._is_json, self._read = True, rest.startswith("{"), self._skip(held, place)
        return True

    def _begin_json(self, begun: str, start: int) -> bool | None:
        found = NAMED_JSON.match(begun)
        if found is None:
            return None if len(begun) < MAX_NAME_CHARS and NAMED_JSON_BEGINNING.fullmatch(begun) else False
        self._name = found[1] if found[1] in self._schemas else ""
        self.begun, self._is_json, self._is_named, self._read = True, True, True, start
        return bool(self._name)

    def _argument(self, held: str) -> str | None:
        """Read the next argument; ``wait`` if more must come, None if there is none."""
        start = self._skip(held, self._read)
        if not held.startswith(KEY_OPEN, start):
            return "wait" if KEY_OPEN.startswith(held[start:]) else None
        if self._key_end < 0:
            self._key_end = held.find(KEY_CLOSE, max(start, self._looked))
            self._looked = max(start, len(held) - len(KEY_CLOSE)) if self._key_end < 0 else self._key_end
        key_end = self._key_end
        value_end = held.find(VALUE_CLOSE, self._looked) if key_end >= 0 else -1
        if value_end < 0:
            self._looked = max(self._looked, len(held) - len(VALUE_CLOSE))
            return "wait"
        self._key_end = -1
        key = held[start + len(KEY_OPEN) : key_end].strip()
        begins = self._skip(held, key_end + len(KEY_CLOSE))
        tagged = held.startswith(VALUE_OPEN, begins)
        text = held[begins + len(VALUE_OPEN) : value_end] if tagged else held[begins:value_end].rstrip()
        properties = self._schemas[self._name].get("properties")
        known = properties.get(key) if isinstance(properties, Mapping) else None
        self._values[key] = cast_text(text, known if isinstance(known, Mapping) else {}, self._schemas[self._name])
        self._read = self._looked = value_end + len(VALUE_CLOSE)
        return "read"

    def _end_of_arguments(self, held: str) -> int | None:
        start = self._skip(held, self._read)
        if held.startswith(CALL_CLOSE, start):
            self.call = ParsedCall(self._name, dump(self._values))
            return start + len(CALL_CLOSE)
        if held.startswith(CALL_OPEN, start):  # its closing tag is missing
            self.call = ParsedCall(self._name, dump(self._values))
            return start
        if any(tag.startswith(held[start:]) for tag in (KEY_OPEN, CALL_CLOSE, CALL_OPEN)):
            return None
        self._is_broken = True
        end = held.find(CALL_CLOSE, max(self._looked, self._read))
        if end < 0:
            self._looked = max(self._read, len(held) - len(CALL_CLOSE))
            return None
        self.call = self._invalid(held[:end])
        return end + len(CALL_CLOSE)

    def _end_of_json(self, held: str) -> int | None:
        while (end := held.find(CALL_CLOSE, max(self._looked, self._read))) >= 0:
            if self._is_in_string(held, end):  # the tag is part of an argument
                self._looked = end + len(CALL_CLOSE)
                continue
            inner = self._arguments_in(parse_object(held[self._read : end]))
            if inner is None:
                self.call = self._invalid(held[:end])
            else:
                self.call = ParsedCall(self._name, dump(cast_arguments(inner, self._schemas[self._name])))
            return end + len(CALL_CLOSE)
        self._looked = max(self._looked, len(held) - len(CALL_CLOSE))
        return None

    def _arguments_in(self, values: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the arguments in a block's object, which may be text of their own; None if there are none."""
        if values is None or not self._is_named:
            return values
        inner = next((values[key] for key in ("arguments", "parameters") if key in values), None)
        if inner is None:
            return {} if values.keys() <= {"name", "arguments", "parameters"} else None
        inner = parse_object(inner) if isinstance(inner, str) else inner
        return inner if isinstance(inner, dict) else None

    def _is_in_string(self, held: str, end: int) -> bool:
        """Return whether JSON is within a string at a place; each character is looked at once."""
        for mark in STRING_MARKS.finditer(held, max(self._scanned, self._read), end):
            self._in_string ^= mark[0] == '"'
        self._scanned = end
        return self._in_string

    @staticmethod
    def _skip(held: str, start: int) -> int:
        """Return where the next character stands that isn't blank."""
        while start < len(held) and held[start].isspace():
            start += 1
        return start


def bound_name(name: str, bound: Container[str]) -> str:
    """Return the bound tool that a name with a stray tag of a faulty parser means; empty if there is none."""
    cleaned = name.strip()
    while tag := next((tag for tag in (*STRAY_TAGS, CALL_CLOSE) if cleaned.endswith(tag)), ""):
        cleaned = cleaned.removesuffix(tag).strip()
    return cleaned if cleaned in bound else ""


def cast_arguments(values: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return arguments with those cast that have another type than in their schema: ``"3"`` where 3 belongs."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    found = {}
    for name, value in values.items():
        wanted = known.get(name)
        if isinstance(wanted, Mapping) and not is_valid(value, wanted, schema):
            value = cast_text(value if isinstance(value, str) else dump(value), wanted, schema)
        found[name] = value
    return found


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, but for special tokens at its end; None if it is none."""
    text = text.strip()
    while text.endswith("|>") and (place := text.rfind("<|")) >= 0:
        text = text[:place].rstrip()
    try:
        value = strict_json(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_keywords(text: str) -> dict[str, Any] | None:
    """Return the keyword arguments of ``tool_call(…)``: literals alone, nothing is evaluated."""
    try:
        node = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
            return None
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        json.dumps(values)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    return values
