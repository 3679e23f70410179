"""Rows as a pandas DataFrame; pandas is not needed for anything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ChatGLMError
from .text import escape_surrogates


def build_dataframe(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """Return a DataFrame of the rows; a lone surrogate, which no file can hold, becomes visible in its texts.

    :param columns: the columns in their order; as the first row has them unless given.
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
