"""Rows A13 to A17, A21, A23 and 1113: a server that says no is understood, and asked once."""

from __future__ import annotations

import pytest

from ..support.clock import assert_within
from ..support.fault_requests import both, make_model, send
from ..support.fault_scripts import good
from ..support.servers import ScriptedServer, reply

LOGIN = "<!DOCTYPE html>\n<html><head><title>Log in to the \x1b[31mGateway</title></head><body>…</body></html>"
KEY = "sk-canary-0123456789"


@pytest.mark.row("A13")
@both
def test_a_login_page_is_no_answer(dialect: str, road: str) -> None:
    """A page with status 200 is refused, and its title shown with nothing a terminal obeys."""
    for kind in ("text/html; charset=utf-8", "application/json", "text/plain"):
        with ScriptedServer(reply(LOGIN, kind=kind)) as server:
            error = send(server, dialect, road).failed("not_a_model_server", of=kind)
            assert "Log in to the" in str(error) and "Gateway" in str(error) and "\x1b" not in str(error), kind
            assert len(server.posts) == 1, kind


@pytest.mark.row("A14")
@both
def test_a_wrong_key_is_not_tried_again_and_not_shown(dialect: str, road: str) -> None:
    """Neither 401 nor 403 is retried, and a server that says the key back does not get it into the error."""
    said = {"error": {"message": f"Incorrect API key provided: {KEY}. Find yours at /keys."}}
    for status in (401, 403):
        with ScriptedServer(reply(said, status=status)) as server:
            error = send(server, dialect, road, api_key=KEY).failed("auth", of=status)
            assert "Incorrect API key provided" in str(error) and KEY not in repr(error), status
            assert error.status == status and len(server.posts) == 1  # type: ignore[attr-defined]
            assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.row("A15")
@both
def test_a_wrong_path_names_the_other_protocols(dialect: str, road: str) -> None:
    """404 and 405 show the address that was tried, and how the other protocol's looks."""
    other = "/v1" if dialect == "chatglm" else "a plain /"
    for status, said in ((404, "Not Found"), (405, "Method Not Allowed")):
        with ScriptedServer(reply({"detail": said}, status=status)) as server:
            error = send(server, dialect, road).failed("not_found", of=status)
            assert server.url + server.posts[0].path[1:] in str(error) and other in str(error), error
            assert said in str(error) and len(server.posts) == 1, status


WRONG = {
    "fastapi": (422, b'{"detail":[{"loc":["body","prompt"],"msg":"field required"}]}', "field required"),
    "openai": (400, b'{"error":{"message":"bad \\u001b]52;c;eA==\\u0007 thing","code":null}}', "bad"),
    "text": (400, "温度 is out of range".encode(), "温度 is out of range"),
    "long": (400, b"so wrong " * 1000, "so wrong so wrong"),
    "binary": (422, bytes(range(256)) * 4, ""),
    "empty": (400, b"", ""),
    "half": (400, b'{"error":{"message":"no', "no"),
}


@pytest.mark.row("A16")
@both
def test_a_bad_request_is_explained_in_the_servers_words(dialect: str, road: str) -> None:
    """Whatever its body is, at most 500 letters of it are shown, and none that a terminal obeys."""
    for name, (status, body, words) in WRONG.items():
        with ScriptedServer(reply(body, status=status, kind="application/json")) as server:
            text = str(send(server, dialect, road).failed("bad_request", of=name))
            assert words in text and str(status) in text, (name, text)
            assert len(text) <= 500 + 200 and all(ord(letter) >= 32 and ord(letter) != 127 for letter in text), (
                name
            )
            assert not any("\x80" <= letter <= "\x9f" for letter in text), name
            assert len(server.posts) == 1, name


LLAMA = (
    '{"error":{"code":400,"message":"request (5000 tokens) exceeds the available context size (4096 tokens), '
    'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}'
)
VLLM = (
    '{"error":{"message":"You passed 5000 input tokens and requested 0 output tokens. However, the model\'s '
    'context length is only 4096 tokens, resulting in a maximum input length of 4096 tokens.","code":400}}'
)
VLLM_OLD = (
    '{"object":"error","message":"This model\'s maximum context length is 4096 tokens. However, you requested '
    '5000 tokens (4900 in the messages, 100 in the completion).","type":"BadRequestError","code":400}'
)
SGLANG = (
    '{"object":"error","message":"The input (5000 tokens) is longer than the model\'s context length '
    '(4096 tokens).","type":"BadRequestError","code":400}'
)
ZAI = '{"error":{"code":"1261","message":"Prompt exceeds max length"}}'
COUNTED = (5000, 4096)
TOO_LONG = {
    "413": (413, "Payload Too Large", None),
    "413 html": (413, "<html><title>413 Request Entity Too Large</title></html>", None),
    "llama.cpp": (400, LLAMA, COUNTED),
    "vllm": (400, VLLM, COUNTED),
    "older vllm": (400, VLLM_OLD, COUNTED),
    "sglang": (400, SGLANG, COUNTED),
    "z.ai": (400, ZAI, None),
}


@pytest.mark.row("A17")
@both
def test_a_prompt_that_does_not_fit(dialect: str, road: str) -> None:
    """The error says by how much, where the server does, and is not about the request's form."""
    for name, (status, body, counts) in TOO_LONG.items():
        with ScriptedServer(reply(body, status=status)) as server:
            error = send(server, dialect, road).failed("too_long", of=name)
            assert error.tokens == counts, (name, error)  # type: ignore[attr-defined]
            assert counts is None or str(counts[0] - counts[1]) in str(error), (name, error)
            assert len(server.posts) == 1, name


@pytest.mark.row("A21")
@both
def test_a_failing_server_is_not_asked_again(dialect: str, road: str) -> None:
    """After 500, 502 and 504 the answer may have been made: one POST."""
    for status in (500, 502, 504):
        with ScriptedServer(reply({"error": "CUDA out of memory"}, status=status)) as server:
            error = send(server, dialect, road).failed("server_error", of=status)
            assert "CUDA out of memory" in str(error) and len(server.posts) == 1, status


@pytest.mark.row("A23")
@both
def test_no_redirect_is_followed(dialect: str, road: str) -> None:
    """Neither question nor key goes where a server points: in a loop, to another port, host or scheme."""
    with ScriptedServer(good(dialect)) as target:
        elsewhere = {
            "loop": None,
            "port": target.url,
            "host": f"http://localhost:{target.port}/",
            "scheme": f"https://127.0.0.1:{target.port}/",
            "no scheme": f"//127.0.0.1:{target.port}/",
        }
        for name, location in elsewhere.items():
            for status in (301, 302, 303, 307, 308):
                with ScriptedServer() as server:
                    server.scripts.append(reply("", status=status, Location=location or server.url))
                    llm_fields = {"api_key": KEY, "headers": {"X-Api-Key": KEY}}
                    send(server, dialect, road, "a secret", **llm_fields).failed("redirect", of=(name, status))
                    assert len(server.asked) == 1, (name, status)
        assert target.asked == []
        make_model(target, dialect, api_key=KEY).invoke("hi")  # the control: it does listen
        assert len(target.posts) == 1


@pytest.mark.row("1113")
@both
def test_an_empty_account_is_not_asked_again(dialect: str, road: str) -> None:
    """Z.ai's 429 with code 1113 means no money: waiting does not help, even where a header says to."""
    for message in (
        "Insufficient balance or no resource package. Please recharge.",
        "余额不足或无可用资源包,请充值。",
    ):
        said = {"error": {"code": "1113", "message": message}}
        with ScriptedServer(reply(said, status=429, Retry_After="60")) as server:
            outcome = send(server, dialect, road)
            assert message[:20] in str(outcome.failed("no_money", of=message))
            assert len(server.posts) == 1
            assert_within(outcome.seconds, 0.9)
