"""Counting tokens where the text will go; where nobody counts, an estimate that says so."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.client.request import Request
from chatglm_magic.client.sync_client import SyncClient
from chatglm_magic.client.tokenizer import request_token_count, tokenizer_urls
from chatglm_magic.errors import EndpointError, ResponseError

from ..support.models import both, endpoint_of, make_local_model, make_model
from ..support.servers import Asked, ScriptedServer, reply

Reply = Callable[[Any], Any]
IDS = [151331, 151333, 109377]

LLAMA_CPP = {"/tokenize": ("content", {"tokens": IDS})}
VLLM = {"/tokenize": ("prompt", {"count": 3, "max_model_len": 4096, "tokens": IDS, "token_strs": None})}
SGLANG = {"/v1/tokenize": ("prompt", {"tokens": IDS, "count": 3, "max_model_len": 4096})}
COUNT_ONLY = {"/tokenize": ("prompt", {"count": 3})}


def server_with(table: dict[str, tuple[str, Any]]) -> ScriptedServer:
    """Return a server that counts at these addresses and nowhere else."""

    def script(connection: socket.socket, asked: Asked) -> None:
        key, said = table.get(asked.path, ("", None))
        found = said is not None and asked.body.get(key) == "你好"
        (reply(said) if found else reply({"detail": "Not Found"}, status=404))(connection, asked)

    return ScriptedServer(script)


SHAPES = [
    *(pytest.param("openai", table, id=f"{name}-openai") for name, table in
      (("llama.cpp", LLAMA_CPP), ("vLLM", VLLM), ("SGLang", SGLANG))),
    pytest.param("chatglm", LLAMA_CPP, id="llama.cpp-chatglm"),
]  # fmt: skip
shapes = pytest.mark.parametrize(("dialect", "table"), SHAPES)


@shapes
def test_counting_get_num_tokens(dialect: str, table: Any) -> None:
    """The server's own tokenizer counts, whichever of the shapes it has; its address is looked for once."""
    with server_with(table) as server:
        llm = make_model(server, dialect, api_key="sk-canary", model="glm")
        assert [llm.get_num_tokens("你好") for _ in range(3)] == [3, 3, 3]
        (path,) = table
        assert [post.path for post in server.posts if post.path != "/tokenize"] in ([], [path] * 3)
        assert len(server.posts) <= 4 and all("authorization" in post.headers for post in server.posts)
        if dialect == "openai":
            assert server.posts[-1].body["model"] == "glm"


@shapes
def test_counting_get_token_ids(dialect: str, table: Any) -> None:
    """The numbers are the server's."""
    with server_with(table) as server:
        assert make_model(server, dialect).get_token_ids("你好") == IDS


@both
def test_counting_get_token_ids__of_the_local_server(dialect: str, local: LocalServer) -> None:
    """The built-in model's tokens: as many as are counted, and more for more text; none for none."""
    llm = make_local_model(local, dialect)
    ids = llm.get_token_ids("你好 temperature")
    assert all(isinstance(number, int) for number in ids)
    assert len(ids) == llm.get_num_tokens("你好 temperature") > llm.get_num_tokens("你好")
    assert llm.get_token_ids("") == [] and llm.get_num_tokens("") == 0


@both
def test_counting_get_num_tokens_from_messages(dialect: str, local: LocalServer) -> None:
    """Messages are counted with their roles, by the same tokenizer."""
    llm = make_local_model(local, dialect)
    talk = [HumanMessage("hi"), AIMessage("Hello there!")]
    both_counted = llm.get_num_tokens_from_messages(talk)
    assert both_counted == sum(llm.get_num_tokens_from_messages([message]) for message in talk)
    assert both_counted > llm.get_num_tokens("hi") + llm.get_num_tokens("Hello there!")
    own = make_local_model(local, dialect, custom_get_token_ids=lambda text: [0] * len(text))
    assert own.get_num_tokens_from_messages(talk[:1]) == len("Human: hi")


def test_counting_get_num_tokens__of_zai(monkeypatch: pytest.MonkeyPatch) -> None:
    """openai: Z.ai counts messages at its own address; a proxy on loopback stands for it."""
    said = {"id": "1", "usage": {"prompt_tokens": 5, "total_tokens": 5}, "created": 1, "request_id": "r"}
    with ScriptedServer(reply(said)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        llm = ChatGLM(endpoint_url="http://api.z.ai/api/paas/v4", model="glm-4.6")
        assert llm.get_num_tokens("你好") == 5
        assert proxy.posts[0].path == "http://api.z.ai/api/paas/v4/tokenizer"
        assert proxy.posts[0].body == {"model": "glm-4.6", "messages": [{"role": "user", "content": "你好"}]}
        with pytest.raises(EndpointError, match="custom_get_token_ids") as caught:
            llm.get_token_ids("你好")
        assert caught.value.kind == "no_tokenizer"


def test_counting_get_num_tokens__asks_one_address_of_zai() -> None:
    """openai: the road to Z.ai's tokenizer, by itself."""
    call = Request("https://open.bigmodel.cn/api/paas/v4/chat/completions", "openai", {"model": "glm-4.6"}, b"")
    assert list(tokenizer_urls(call)) == ["https://open.bigmodel.cn/api/paas/v4/tokenizer"]
    with ScriptedServer(reply({"usage": {"prompt_tokens": 7}})) as server:
        found = request_token_count(SyncClient(), call, server.url + "tokenizer", "你好")
        assert found is not None and (found.count, found.ids) == (7, None)


@both
def test_counting_get_num_tokens__estimates_and_says_so(dialect: str) -> None:
    """A server without a tokenizer: about 0.6 tokens a Chinese character, less for a letter, and a warning."""
    with server_with({}) as server:
        llm = make_model(server, dialect)
        with pytest.warns(UserWarning, match="estimate.*no tokenizer") as caught:
            chinese = llm.get_num_tokens("床前明月光疑是地上霜" * 100)
        assert 550 <= chinese <= 650 and caught[0].filename == __file__
        asked = len(server.posts)
        with pytest.warns(UserWarning, match="estimate"):
            english = llm.get_num_tokens("The quick brown fox jumps over the lazy dog. " * 100)
        assert 900 <= english <= 1500  # ten tokens a sentence
        with pytest.warns(UserWarning):
            assert llm.get_num_tokens("a") == 1
        assert len(server.posts) == asked, "that there is no tokenizer was known"


@both
def test_counting_get_num_tokens__estimates_without_a_server(dialect: str) -> None:
    """A count is had also where no server answers; the warning says why it is an estimate."""
    llm = ChatGLM(endpoint_url="http://127.0.0.1:1/" + ("v1" if dialect == "openai" else ""))
    with pytest.warns(UserWarning, match="No server answers"):
        assert llm.get_num_tokens("你好") == 2
    with pytest.raises(EndpointError):
        llm.get_token_ids("你好")


@both
def test_counting_get_token_ids__are_never_estimated(dialect: str) -> None:
    """Where nobody tells the numbers, a clear error names the way out; so where the server only counts."""
    for table in ({}, COUNT_ONLY):
        with server_with(table) as server, pytest.raises(EndpointError, match="custom_get_token_ids") as caught:
            make_model(server, dialect).get_token_ids("你好")
        assert caught.value.kind == "no_tokenizer"
    with server_with(COUNT_ONLY) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_model(server, dialect).get_num_tokens("你好") == 3


@both
@pytest.mark.parametrize("body", ["<html>", "[]", "null", '{"tokens": "x"}', '{"count": -1}', '{"count": true}'])
def test_counting_get_num_tokens__of_nonsense_is_an_estimate(dialect: str, body: str) -> None:
    """What is no count is not taken for one."""
    with ScriptedServer(reply(body)) as server, pytest.warns(UserWarning, match="estimate"):
        assert make_model(server, dialect).get_num_tokens("你好") == 2


@both
def test_counting_get_token_ids__with_a_wrong_key(dialect: str, local: LocalServer) -> None:
    """A refused key is said as such, and not taken for a server without a tokenizer."""
    llm = make_local_model(local, dialect)
    llm.api_key = "sk-wrong"
    with pytest.raises(ResponseError) as caught:
        llm.get_token_ids("hi")
    assert caught.value.kind == "auth"


NO_DOWNLOAD = """
import json, sys, warnings
from chatglm_magic import ChatGLM
from langchain_core.messages import HumanMessage

class Watch:
    tried = []
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("transformers", "tiktoken", "torch"):
            self.tried.append(name)

sys.meta_path.insert(0, Watch())
sys.addaudithook(lambda event, args: event == "socket.connect" and places.append(args[1][0]))
places = []
warnings.simplefilter("ignore")
for url in sys.argv[1:]:
    llm = ChatGLM(endpoint_url=url)
    llm.get_num_tokens("你好"), llm.get_num_tokens_from_messages([HumanMessage("你好")])
    try:
        llm.get_token_ids("你好")
    except ValueError as error:
        print(json.dumps([error.kind, Watch.tried, sorted(set(places))]))
"""


@pytest.mark.parametrize("dialects", [("chatglm", "openai")], ids="-".join)
def test_counting_no_download(dialects: tuple[str, ...]) -> None:
    """Nothing tries to import transformers, and no other host is asked, though no server counts."""
    with server_with({}) as server:
        command = [sys.executable, "-c", NO_DOWNLOAD, *(endpoint_of(server, dialect) for dialect in dialects)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert told == [["no_tokenizer", [], ["127.0.0.1"]]] * 2, done.stderr
