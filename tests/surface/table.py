"""The rows of the surface as its issue spells them; a test's name is ``test_GROUP_ROW``, or more after ``__``."""

from __future__ import annotations

ROWS: dict[str, tuple[str, ...]] = {
    "field": (
        *("cache", "callbacks", "custom_get_token_ids", "endpoint_url", "history", "max_token", "metadata"),
        *("model_kwargs", "tags", "temperature", "top_p", "verbose", "with_history", "callback_manager"),
        *("model", "dialect", "api_key", "system", "stop", "seed", "thinking", "timeout", "max_retries"),
        *("max_concurrency", "headers", "stream_usage", "insecure"),
        "a wrong or misspelt name",
    ),
    "calling": (
        *("invoke", "ainvoke", "stream", "astream", "batch", "abatch", "batch_as_completed"),
        *("abatch_as_completed", "generate", "agenerate", "astream_events", "__call__"),
    ),
    "composing": (
        *("bind", "assign", "get_graph", "configurable_fields", "configurable_alternatives", "with_config"),
        *("with_fallbacks", "with_listeners", "with_alisteners", "with_retry", "with_types"),
        *("| chains with prompts and parsers", "with_structured_output"),
    ),
    "counting": (
        *("get_num_tokens", "get_num_tokens_from_messages", "get_token_ids", "never a GPT-2 download"),
        *("save", "pickle", "deepcopy"),
    ),
    "validation": (
        *("temperature 0 to 10", "top_p 0 to 1", "max_token ≥ 1", "None (unset)"),
        *("nan", "inf", "bool", '"hot"'),
    ),
    "semantics": (
        "call arguments beat model_kwargs beat fields",
        "history is sent even with with_history=False",
        "llm.with_history = True after construction works",
        '_llm_type == "chat_glm"',
        "every error is a ValueError",
        "langchain_community beside ours",
        "Message input keeps its roles on /v1",
    ),
    "connections": ("pooled", "survive fork", "survive pickling", "closed when the object goes"),
}

SHORT = {
    "a wrong or misspelt name": "misspelt_name",
    "__call__": "call",
    "| chains with prompts and parsers": "chains",
    "never a GPT-2 download": "no_download",
    "temperature 0 to 10": "temperature",
    "top_p 0 to 1": "top_p",
    "max_token ≥ 1": "max_token",
    "None (unset)": "none",
    '"hot"': "hot",
    "call arguments beat model_kwargs beat fields": "precedence",
    "history is sent even with with_history=False": "history_is_sent",
    "llm.with_history = True after construction works": "with_history_later",
    '_llm_type == "chat_glm"': "llm_type",
    "every error is a ValueError": "value_error",
    "langchain_community beside ours": "original",
    "Message input keeps its roles on /v1": "roles",
    "survive fork": "fork",
    "survive pickling": "pickling",
    "closed when the object goes": "closed",
}
"""How a row stands in a test's name, where it is no name itself."""


def list_names() -> set[str]:
    """Return what the tests' names begin with, one for each row."""
    return {f"test_{group}_{SHORT.get(row, row)}" for group, rows in ROWS.items() for row in rows}
