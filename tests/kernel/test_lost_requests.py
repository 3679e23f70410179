"""The ipykernel that tests and users get answers every request, whenever it arrives."""

from __future__ import annotations

import pytest

from .lost_requests import BROKEN, SOUND, loses_request, read_requirements

pytestmark = pytest.mark.heavy


def test_the_installed_kernel_answers_a_request_that_arrives_before_a_reply_is_sent() -> None:
    """A request that arrives between the kernel's poll and its reply to the one before is read."""
    assert not loses_request()


def test_each_extra_excludes_the_kernels_that_lose_requests() -> None:
    """The extras ``lab`` and ``test`` allow the versions that answer, and none of those that don't."""
    requirements = read_requirements()
    assert set(requirements) == {"lab", "test"}
    for extra, requirement in requirements.items():
        allowed = {version for version in (*BROKEN, *SOUND) if requirement.specifier.contains(version)}
        assert allowed == set(SOUND), extra
