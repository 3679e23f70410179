"""What the standard suite needs: its asynchronous tests name no runner, and get pytest-asyncio's mark."""

from __future__ import annotations

import inspect
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(obj: Any) -> None:
    """Mark an asynchronous test before it is collected."""
    if inspect.iscoroutinefunction(obj):
        pytest.mark.asyncio(getattr(obj, "__func__", obj))
