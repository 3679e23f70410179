"""Save, find, export, import and delete turns in SQLite."""

from .history import History
from .query import Query, Row, Summary
from .search import excerpt
from .store import Store

__all__ = ["History", "Query", "Row", "Store", "Summary", "excerpt"]
