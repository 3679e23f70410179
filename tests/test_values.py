"""The values and names that all rooms share: tokens, turns, and what names a key."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from chatglm_magic import ChatGLM, errors
from chatglm_magic.credentials import MAX_DEPTH, find_secret_name, is_secret_name
from chatglm_magic.errors import ParameterError
from chatglm_magic.values import Answer, Candidate, TokenLogprobs, Turn


def test_two_candidates_are_one_token_by_their_numbers_where_they_have_any() -> None:
    """Else by text and bytes: parts of characters have the same text."""
    assert Candidate("a", -1.0, 7).is_same_token(Candidate("b", -2.0, 7))
    assert not Candidate("a", -1.0, 7).is_same_token(Candidate("a", -1.0, 8))
    assert Candidate("a", -1.0, 7).is_same_token(Candidate("a", -2.0)) and Candidate("a", -1.0).is_same_token(
        Candidate("a", -9.0, 7)
    )
    assert not Candidate("\ufffd", -1.0, raw="e4").is_same_token(Candidate("\ufffd", -1.0, raw="e5"))
    assert not Candidate("a", -1.0).is_same_token(Candidate("b", -1.0))
    assert Candidate("\ufffd", -1.0, raw="e4").data == b"\xe4" and Candidate("\ud800", 0.0).data == b"\xed\xa0\x80"


@pytest.mark.parametrize(
    "data",
    [
        *([["x", 0.5], []], [["x", -2e6], []], [["x", True], []], [["x", -1, 1.5], []], [["x", -1, True], []]),
        *(
            [["x", -1, None, 7], []],
            [["x", -1, None, "zz"], []],
            [[7, -1], []],
            [["x", -1], [["y", 1]]],
            [["x"]],
            7,
        ),
    ],
)
def test_odds_from_a_file_are_checked(data: Any) -> None:
    """A probability above 1, a number that is none, bytes that are no hexadecimal."""
    with pytest.raises((ValueError, TypeError)):
        TokenLogprobs.from_json(data)
    assert TokenLogprobs.from_json([["x", 0, 7, "e4"], [["y", -1e6]]]).top[0].logprob == -1e6


def test_a_turn_is_read_as_it_was_written() -> None:
    """Keys of a later version are left out; an answer stays text that knows its turn when it is pickled."""
    turn = Turn("q", "a", changed=("x", "y"), usage={"completion_tokens": 1}, outside=True)
    assert Turn.from_json({**turn.to_json(), "later": 1}) == turn
    again = pickle.loads(pickle.dumps(Answer(turn)))  # noqa: S301 - our own
    assert again == "a" and again.turn == turn and isinstance(again, Answer)


def test_every_error_is_a_value_error_as_the_originals_were() -> None:
    """Code of 2023 catches ValueError; ``except Exception`` lets an interrupt through."""
    kinds = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    ours = [kind for kind in kinds if issubclass(kind, errors.ChatGLMError)]
    assert len(ours) == 10 and all(issubclass(kind, ValueError) for kind in ours)
    assert issubclass(errors.Interrupted, KeyboardInterrupt) and not issubclass(errors.Interrupted, Exception)
    assert (
        errors.ChatGLMError("x", partial="half").partial == "half" and errors.EndpointError("x").kind == "connect"
    )


KEYS = [
    *("key", "KEY", "token", "Token", "_key", "api_key", "API-Key", "apikey", "zhipuai_api_key", "client-secret"),
    *("Password", "my_password", "Authorization", "proxy-authorization", "access_token", "ACCESS-TOKEN"),
]
OTHERS = ["max_token", "max_tokens", "keys", "keyword", "tokens", "monkey", "top_k", "", "tokenizer", "hockey"]


@pytest.mark.parametrize("name", KEYS)
def test_a_name_of_a_key_is_known_however_it_is_spelt(name: str) -> None:
    """Case, dashes and a line below make no difference; nothing of it may be sent in a body."""
    assert is_secret_name(name)
    with pytest.raises(ParameterError, match="looks like a key") as raised:
        ChatGLM(model_kwargs={name: "sk-secret"}).plan("q")
    assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize("name", OTHERS)
def test_a_name_that_only_holds_such_a_word_is_none(name: str) -> None:
    """The most tokens of an answer are no key, and neither is a number."""
    assert not is_secret_name(name) and find_secret_name({name: "x"}) is None
    assert find_secret_name({"key": 7, "token": None, "api_key": 1.5}) is None


def test_a_key_is_found_however_deep_it_lies() -> None:
    """In mappings and in lists; deep down only by a name that means nothing else, and to a certain depth."""
    assert find_secret_name({"a": {"Api-Key": "x"}}) == "a: Api-Key"
    assert find_secret_name({"a": [1, {"b": ({"secret": "x"},)}]}) == "a: secret"
    assert find_secret_name({"tools": [{"function": {"key": "x", "token": "y"}}]}) is None
    deep: Any = {"api_key": "x"}
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert find_secret_name({"a": deep}) == "a: api_key" and find_secret_name({"a": [deep]}) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RefusedError", "ResponseError"),
        ("ReplyError", "InvalidResponseError"),
        ("BrokenOffError", "IncompleteAnswerError"),
    ],
)
def test_errors_can_be_caught_by_their_old_names(old: str, new: str) -> None:
    """Both names are one class."""
    assert getattr(errors, old) is getattr(errors, new)
