"""Keeps text from being read as role tokens.

llama.cpp parses special tokens in the whole rendered chat, the users' words included: a question that holds
`<|assistant|>` writes the assistant's part itself. One visible space takes such a token apart.
"""

from __future__ import annotations

import re

# Any `<|name|>`, and the tokens of the GLM family that look otherwise. Every alternative matches only the
# opening of a token and looks ahead for the rest, so that overlapping ones (`<|<|user|>`) are all found; and
# no token holds a space, so that what comes out can't hold one: a second pass changes nothing.
_OPENINGS = re.compile(
    r"<(?=\|[^\s<>]{1,64}\|>)"
    r"|<(?=/?(?:s|sop|eop|eos|bos|pad|unk|think|tool_call|tool_response|arg_key|arg_value)>)"
    r"|<(?=(?:start|end)_of_(?:turn|image)>)"
    r"|\[(?=/?(?:gMASK|sMASK|MASK|INST|SYS|TOOL_CALLS|AVAILABLE_TOOLS)\])"
    r"|<(?=[｜︱][^\s<>]{1,64}[｜︱]>)"
)


def neutralise(text: str) -> str:
    """Return `text` with a space after the opening bracket of everything that could be a special token."""
    return _OPENINGS.sub(lambda match: match[0] + " ", text)
