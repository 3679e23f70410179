"""The list of breakages stays usable: each applies to the tree as it is, and names tests that exist."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import chatglm_magic

from .mutants import find_missing_tests, load_mutants

PACKAGE = Path(chatglm_magic.__file__).parent  # which .ci/matrix has installed, away from the tests
MUTANTS = load_mutants()


def test_each_breakage_applies_to_the_tree() -> None:
    """Its old text occurs exactly once in its file, and the new one is valid Python."""
    problems = []
    for mutant in MUTANTS:
        try:
            mutant.broken(PACKAGE.parent)
        except ValueError as error:
            problems.append(f"{mutant.name}: {error}")
    assert problems == []


def test_each_breakage_names_tests_that_exist() -> None:
    """Files, folders or functions; only a breakage that nothing can notice has a reason in their place."""
    assert [mutant.name for mutant in MUTANTS if bool(mutant.tests) is bool(mutant.equivalent)] == []
    assert find_missing_tests(test for mutant in MUTANTS for test in mutant.tests) == []


def test_no_two_breakages_share_a_name() -> None:
    """Each can be tried by itself."""
    counts = Counter(mutant.name for mutant in MUTANTS)
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_room_has_breakages() -> None:
    """No part of the package is left out."""
    rooms = {mutant.file.split("/")[1].removesuffix(".py") for mutant in MUTANTS}
    every = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == every - {"__init__", "__main__", "_version"}
