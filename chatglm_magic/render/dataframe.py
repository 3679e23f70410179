"""Rows as a pandas DataFrame. Nothing else needs pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ChatGLMError
from .text import escape_surrogates


def build_dataframe(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """Return a DataFrame of the rows, with lone surrogates escaped, which no file can hold.

    :param columns: the columns in their order; by default those of the first row.
    :raises ChatGLMError: if pandas is not installed.
    """
    try:
        import pandas  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise ChatGLMError("A table needs pandas: pip install pandas", kind="missing") from None
    texts = (
        {name: escape_surrogates(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in rows
    )
    return pandas.DataFrame(list(texts), columns=columns)
