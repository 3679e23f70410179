"""What the local server takes for each field, as pure functions, at the edges of each range."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic.server import chatglm_api, openai_api, validation
from chatglm_magic.server.models import ModelError, builtin_model
from chatglm_magic.server.validation import BadField, Changes

SEEDS = {-1: None, None: None, 0: 0, 7: 7, 2**32 - 2: 2**32 - 2, 2**32 - 1: 0, -2: 2**32 - 3}
HI = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("given", SEEDS)
def test_a_seed_is_taken_into_range_and_minus_one_is_random(given: Any) -> None:
    """The highest one means random to the engine, so that it is none of ours; what was changed is noted."""
    changes = Changes()
    assert validation.read_seed({"seed": given}, changes) == SEEDS[given]
    assert bool(changes.headers()) is (given in (2**32 - 1, -2))


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        *(("temperature", given, kept) for given, kept in ((0, 0), (0.0009, 0), (0.001, 0.001), (-1, 0))),
        *(("temperature", given, kept) for given, kept in ((100, 100), (100.1, 100), (None, None))),
        *(("top_p", given, kept) for given, kept in ((0, 0.01), (-1, 0.01), (0.001, 0.001), (1, 1), (1.1, 1))),
    ],
)
def test_a_sampling_value_is_taken_into_range(name: str, given: Any, kept: Any) -> None:
    """And noted where it was changed; a truth value, a text and no finite number are refused."""
    changes = Changes()
    read = {"temperature": validation.read_temperature, "top_p": validation.read_top_p}[name]
    assert read({name: given}, changes) == kept
    assert bool(changes.headers()) is (given != kept)
    for wrong in (True, "1", float("nan"), float("inf"), 10**400, []):
        with pytest.raises(BadField) as raised:
            read({name: wrong}, Changes())
        assert raised.value.name == name


def test_an_empty_stop_text_is_left_out() -> None:
    """It would end every answer; 64 texts are the most."""
    changes = Changes()
    assert validation.read_stop({"stop": ["", "a", ""]}, changes) == ["a"] and changes.headers()
    assert validation.read_stop({"stop": ""}, Changes()) is None and validation.read_stop({}, Changes()) is None
    assert validation.read_stop({"stop": ["x"] * 64}, Changes()) == ["x"] * 64
    for wrong in (["x"] * 65, 7, ["x", 7], {"x": 1}):
        with pytest.raises(BadField):
            validation.read_stop({"stop": wrong}, Changes())


def test_an_answer_has_room_for_one_token_at_least() -> None:
    """With none left the reader is told what to shorten, and to raise max_length where that helps."""
    ask = chatglm_api.parse_request({"prompt": "hi", "max_length": 10}, 2048, Changes())
    assert (chatglm_api.answer_tokens(ask, 9), chatglm_api.answer_tokens(ask, 1)) == (1, 9)
    for used in (10, 11):
        with pytest.raises(BadField, match="or raise max_length"):
            chatglm_api.answer_tokens(ask, used)
    full = chatglm_api.parse_request({"prompt": "hi", "max_length": 4096}, 2048, Changes())
    assert full.max_length == 2048
    with pytest.raises(BadField) as raised:
        chatglm_api.answer_tokens(full, 2048)
    assert "raise" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "kept"), [(None, 2048), (0, 2048), (-5, 2048), (1, 1), (2048, 2048), (9999, 4096)]
)
def test_max_length_is_the_context_at_most(given: Any, kept: int) -> None:
    """Nought is unset, as to the original; a small context lowers the default too."""
    body = {"prompt": "hi"} | ({} if given is None else {"max_length": given})
    assert chatglm_api.parse_request(body, 4096, Changes()).max_length == kept
    assert chatglm_api.parse_request(body, 100, Changes()).max_length == min(kept, 100)


@pytest.mark.parametrize(("given", "kept"), [(-1, None), (0, 1), (1, 1), (100, 100), (101, 100), (None, None)])
def test_max_tokens_is_from_one_to_the_context(given: Any, kept: int | None) -> None:
    """Under either of its names; -1 is no limit."""
    for name in ("max_tokens", "max_completion_tokens"):
        assert openai_api.chat_request({**HI, name: given}, 100, Changes())[0].get("max_tokens") == kept


def test_only_one_answer_is_given() -> None:
    """A wish for more is refused."""
    for fine in ({}, {"n": 1}, {"n": None}):
        assert openai_api.chat_request({**HI, **fine}, 100, Changes())[0]
    for wrong in (0, 2, True, "1"):
        with pytest.raises(BadField):
            openai_api.chat_request({**HI, "n": wrong}, 100, Changes())


def test_ids_of_tokens_are_those_of_the_vocabulary() -> None:
    """From 0 to one below its size; whole numbers alone."""
    assert openai_api.detokenize_request({"tokens": [0, 99]}, 100) == {"tokens": [0, 99]}
    for wrong in ([100], [-1], [True], [1.0], ["1"], "1", None, [0] * (2**20 + 1)):
        with pytest.raises(BadField):
            openai_api.detokenize_request({"tokens": wrong}, 100)
    assert openai_api.tokenize_request({"content": "x" * 2**20})
    with pytest.raises(BadField):
        openai_api.tokenize_request({"content": "x" * (2**20 + 1)})


def test_a_built_in_model_that_is_damaged_or_missing_is_not_loaded(tmp_path: Path) -> None:
    """By its checksum: the engine would not notice; the error says what to do."""
    facts = {"name": "tiny", "sha256": "0" * 64}
    with pytest.raises(ModelError, match="missing"):
        builtin_model(tmp_path)
    (tmp_path / "glm-tiny.json").write_text(json.dumps(facts))
    (tmp_path / "glm-tiny.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"is damaged .*--force-reinstall"):
        builtin_model(tmp_path)
    facts["sha256"] = hashlib.sha256(b"GGUF").hexdigest()
    (tmp_path / "glm-tiny.json").write_text(json.dumps(facts))
    assert builtin_model(tmp_path).name == "tiny" and builtin_model(tmp_path).builtin
