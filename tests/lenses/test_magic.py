"""The line of ``%chatglm_lens``: what it sends, what it hands over, what it refuses."""

from __future__ import annotations

import json

import pytest

from chatglm_magic.errors import CommandError, ParameterError
from chatglm_magic.magics.lens import run_lens

from ..support.logprobs import ANSWER, LlamaServer, open_session
from ..support.servers import answer, legacy

V1 = "v1"


def test_a_line_is_asked_as_typed() -> None:
    """Options come first, variables are put in, the prompt keeps its signs; the lens comes back."""
    with LlamaServer(ANSWER) as server:
        session = open_session(server.url + V1)
        line = "-t 1.5 -p 0.9 -m 8 --seed 3 --top 20 -s 'be kind' -k top_k=5 -o seen Say {{word}} -t $x?"
        found = run_lens(session, line, {"word": "hi"})
        (post,) = server.posts
    assert post.body["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "Say hi -t $x?"},
    ]
    wanted = {"temperature": 1.5, "top_p": 0.9, "max_tokens": 8, "seed": 3, "top_logprobs": 20, "top_k": 5}
    assert wanted.items() <= post.body.items()
    assert found.lens is not None and len(found.lens) == 2 and found.out == "seen" and not found.quiet
    assert found.lens.temperature == 1.5 and found.lens.reshape()[0].top_k == 5


def test_raw_quiet_and_no_log() -> None:
    """{{name}} stays, nothing is to be shown, and no turn is kept."""
    with LlamaServer(ANSWER) as server:
        session = open_session(server.url + V1)
        found = run_lens(session, "--raw -q --no-log {{word}}", {"word": "hi"})
        assert server.posts[0].body["messages"][0]["content"] == "{{word}}"
    assert found.quiet and session.turns == ()


def test_history_is_sent_if_asked_for() -> None:
    """By default the lens asks outside the conversation."""
    with LlamaServer(answer("one"), ANSWER) as server:
        session = open_session(server.url + V1)
        session.ask("q1")
        run_lens(session, "q2", {})
        run_lens(session, "-H q3", {})
        assert [len(post.body["messages"]) for post in server.posts] == [1, 1, 3]


def test_a_dry_run_sends_nothing() -> None:
    """The printed body is the one that would be sent."""
    with LlamaServer(ANSWER) as server:
        session = open_session(server.url + V1)
        text = run_lens(session, "--dry-run -t 0.5 hi", {}).text
        assert server.asked == []
        run_lens(session, "-t 0.5 hi", {})
        assert json.loads(text.partition("\n\n")[2]) == server.posts[0].body
    assert text.split()[:1] == ["POST"] and text.split()[1].endswith("/v1/chat/completions")


def test_help_needs_no_server() -> None:
    """It names the options and the servers that can do it."""
    text = run_lens(open_session("http://127.0.0.1:9/v1"), "--help", {}).text
    assert all(
        word in text for word in ("--top N", "--vocabulary N", "  -t", "--temperature T", "--dry-run", "llama.cpp")
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "needs a prompt"),
        ("-t 1", "needs a prompt"),
        ("--topp 1 hi", "--top"),
        ("-o 1a hi", "variable's name"),
    ],
)
def test_lines_that_make_no_sense_are_refused(line: str, words: str) -> None:
    """Before anything is sent."""
    with LlamaServer(ANSWER) as server:
        with pytest.raises(CommandError, match=words):
            run_lens(open_session(server.url + V1), line, {})
        assert server.asked == []


def test_the_old_protocol_is_told_apart() -> None:
    """Also in a dry run: a server with POST / alone has no probabilities."""
    with LlamaServer(legacy()) as server:
        for line in ("hi", "--dry-run hi"):
            with pytest.raises(ParameterError, match="POST / does not give"):
                run_lens(open_session(server.url), line, {})
        assert server.asked == []
