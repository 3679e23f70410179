"""The number of tokens in a text: counted by the server if it can, else estimated with a warning."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Any

from ..client.tokenizer import TokenCount, request_token_count, tokenizer_urls
from ..errors import ChatGLMError, EndpointError
from .request_plan import plan_request

if TYPE_CHECKING:
    from .base import ModelFields


CJK_CHARACTER = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
TOKENS_PER_CJK_CHAR = 0.6
"""In GLM's vocabularies: their makers count 1.6 to 1.8 Chinese characters per token."""

TOKENS_PER_OTHER_CHAR = 0.3
"""Three to four letters of English make one token."""


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens in a text from its characters."""
    cjk_count = len(CJK_CHARACTER.findall(text))
    return math.ceil(cjk_count * TOKENS_PER_CJK_CHAR + (len(text) - cjk_count) * TOKENS_PER_OTHER_CHAR)


def count_on_server(llm: ModelFields, text: str) -> TokenCount | None:
    """Return the server's token count; None if it has no tokenizer. The URL that counts is cached per server.

    :raises ChatGLMError: if the server can't be reached, or refuses the key.
    """
    request, known = plan_request(llm, "", None, {}).request, llm._runtime.tokenizers
    candidates = [known[request.url]] if request.url in known else list(tokenizer_urls(request))
    for url in candidates:
        result = request_token_count(llm._runtime.client, request, url, text) if url else None
        if result is not None:
            known[request.url] = url
            return result
    known[request.url] = None
    return None


class TokenCountMixin:
    """LangChain's methods that count tokens, for both models."""

    def get_num_tokens(self, text: str) -> int:
        """Return the number of tokens in a text: the server's count, or an estimate with a warning."""
        model: Any = self
        if model.custom_get_token_ids is not None:
            return len(model.custom_get_token_ids(text))
        try:
            result = count_on_server(model, text)
        except ChatGLMError as error:
            reason = str(error)
        else:
            if result is not None:
                return result.count
            reason = "the server has no tokenizer"
        warnings.warn(f"The number of tokens is an estimate from the characters: {reason}", stacklevel=2)
        return estimate_tokens(text)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text.

        :raises EndpointError: ``no_tokenizer`` if neither the server nor ``custom_get_token_ids`` provides them.
        """
        model: Any = self
        if model.custom_get_token_ids is not None:
            return model.custom_get_token_ids(text)  # type: ignore[no-any-return]
        result = count_on_server(model, text)
        if result is None or result.ids is None:
            raise EndpointError(
                "This server doesn't return token ids. Pass the model's tokenizer: "
                "ChatGLM(custom_get_token_ids=tokenizer.encode).",
                kind="no_tokenizer",
            )
        return list(result.ids)
