"""How many tokens a text is: the server's own count where it has one, else a stated estimate."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING

from ..client.tokenizer import Counted, addresses, counted
from ..errors import ChatGLMError, EndpointError
from .request_plan import plan_request

if TYPE_CHECKING:
    from .base import ModelFields


CJK = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
PER_CJK = 0.6
"""Tokens a Chinese character takes in GLM's vocabularies: their makers count 1.6 to 1.8 characters a token."""

PER_OTHER = 0.3
"""Tokens any other character takes: three to four letters of English make one."""


def estimated(text: str) -> int:
    """Return about how many tokens a text is, from its characters alone."""
    chinese = len(CJK.findall(text))
    return math.ceil(chinese * PER_CJK + (len(text) - chinese) * PER_OTHER)


def from_server(llm: ModelFields, text: str) -> Counted | None:
    """Ask the server; None where it has no tokenizer. Which address counts is remembered for each server.

    :raises ChatGLMError: if the server is not there, or refuses the key.
    """
    call, known = plan_request(llm, "", None, {}).call, llm._runtime.tokenizers
    tried = [known[call.url]] if call.url in known else list(addresses(call))
    for url in tried:
        found = counted(llm._runtime.client, call, url, text) if url else None
        if found is not None:
            known[call.url] = url
            return found
    known[call.url] = None
    return None


def count(llm: ModelFields, text: str) -> int:
    """Return how many tokens a text is; a warning says so if it is an estimate."""
    if llm.custom_get_token_ids is not None:
        return len(llm.custom_get_token_ids(text))
    try:
        found = from_server(llm, text)
    except ChatGLMError as error:
        why = str(error)
    else:
        if found is not None:
            return found.count
        why = "the server has no tokenizer"
    warnings.warn(f"The number of tokens is an estimate from the characters: {why}", stacklevel=3)
    return estimated(text)


def ids(llm: ModelFields, text: str) -> list[int]:
    """Return a text's tokens as numbers.

    :raises EndpointError: ``no_tokenizer`` where neither the server nor ``custom_get_token_ids`` can tell.
    """
    if llm.custom_get_token_ids is not None:
        return llm.custom_get_token_ids(text)
    found = from_server(llm, text)
    if found is None or found.ids is None:
        raise EndpointError(
            "This server does not tell the numbers of tokens. Give the model's own tokenizer: "
            "ChatGLM(custom_get_token_ids=tokenizer.encode).",
            kind="no_tokenizer",
        )
    return list(found.ids)
