"""The known bugs of ``langchain_community.llms.ChatGLM`` 0.4.2: shown in it, as control, and absent in ours."""

from __future__ import annotations

import asyncio
import re
import threading
import warnings
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

from .support.servers import ScriptedServer, answer, hang, legacy, reply
from .test_original import original

__all__ = ["original"]


@pytest.fixture(scope="module")
def original3() -> Any:
    """The original class for ``/v1`` servers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.llms.chatglm3 import ChatGLM3

    return ChatGLM3


@pytest.mark.parametrize(
    ("stop", "theirs", "ours"),
    [(["."], "", "foo"), (["<|user|>"], "foo.bar", "foo.bar<|x "), (["o+"], "f", "foo.bar<|x <|user|> ok")],
)
def test_stop_strings_are_no_patterns(stop: list[str], theirs: str, ours: str, original: Any) -> None:
    """The original takes stop strings for regular expressions; ours takes them as they are."""
    with ScriptedServer(legacy("foo.bar<|x <|user|> ok")) as server:
        assert original(endpoint_url=server.url).invoke("x", stop=stop) == theirs
        assert ChatGLM(endpoint_url=server.url).invoke("x", stop=stop) == ours


def test_a_stop_string_with_a_bracket_is_no_error(original: Any) -> None:
    """The original loses the answer to ``re.error``; ours cuts at the text."""
    with ScriptedServer(legacy("Hi (says the AI) and more")) as server:
        with pytest.raises(re.error):
            original(endpoint_url=server.url).invoke("x", stop=["AI)"])
        assert ChatGLM(endpoint_url=server.url).invoke("x", stop=["AI)"]) == "Hi (says the "


@pytest.mark.parametrize("stop", [[], [""], ["", "没有"]])
def test_an_empty_stop_list_cuts_nothing(stop: list[str], original: Any) -> None:
    """In the original no stop string, or an empty one, cuts everything; in ours it means none."""
    with ScriptedServer(legacy("整个回答")) as server:
        assert original(endpoint_url=server.url).invoke("x", stop=stop) == ""
        assert ChatGLM(endpoint_url=server.url).invoke("x", stop=stop) == "整个回答"


def test_stop_holds_across_the_pieces_of_a_stream(original: Any) -> None:
    """The original never streams, and its cut, made piece by piece, would miss a stop string in two halves."""
    from langchain_community.llms.utils import enforce_stop_tokens

    pieces = ["好的。E", "N", "D 再见"]
    assert "".join(enforce_stop_tokens(piece, ["END"]) for piece in pieces) == "好的。END 再见"
    with ScriptedServer(legacy("".join(pieces))) as server:
        assert list(original(endpoint_url=server.url).stream("x", stop=["END"])) == ["好的。"]
    with ScriptedServer(answer(*pieces)) as server:
        assert "".join(ChatGLM(endpoint_url=server.url + "v1").stream("x", stop=["END"])) == "好的。"


def test_a_cache_never_gives_a_stale_answer(original: Any) -> None:
    """The original's key ignores temperature, history and call arguments; each of them is in ours."""

    def posts(kind: Any) -> int:
        cache = InMemoryCache()
        with ScriptedServer(legacy()) as server:
            for values in ({}, {"temperature": 0.9}, {"top_p": 0.1}, {"max_token": 7}, {"history": [["a", "b"]]}):
                kind(endpoint_url=server.url, cache=cache, **values).invoke("x")
            for arguments in ({"temperature": 0.8}, {"max_length": 9}, {"foo": 1}):
                kind(endpoint_url=server.url, cache=cache).invoke("x", **arguments)
            return len(server.posts)

    assert (posts(original), posts(ChatGLM)) == (1, 8)


def test_a_cache_does_answer_the_same_question() -> None:
    """What is asked again with nothing changed is not sent again."""
    cache = InMemoryCache()
    with ScriptedServer(legacy()) as server:
        for arguments in ({}, {"temperature": 0.8}, {"stop": ["a"]}) * 2:
            assert ChatGLM(endpoint_url=server.url, cache=cache).invoke("x", **arguments) == "你好"
        assert len(server.posts) == 3


def test_the_text_of_an_error_is_not_lost(original: Any) -> None:
    """The original says ``<Response [500]>``; ours says what the server said."""
    with ScriptedServer(reply({"detail": "CUDA out of memory"}, status=500)) as server:
        with pytest.raises(ValueError) as theirs:
            original(endpoint_url=server.url).invoke("x")
        with pytest.raises(ChatGLMError, match="CUDA out of memory") as ours:
            ChatGLM(endpoint_url=server.url).invoke("x")
        assert "CUDA" not in str(theirs.value) and ours.value.kind == "server_error"


def test_waiting_has_an_end(original: Any) -> None:
    """The original drops ``timeout=`` and waits for ever; ours gives up when it was told to."""

    def wait_for_ever(url: str, told: list[BaseException]) -> None:
        try:
            original(endpoint_url=url, timeout=0.3).invoke("x")
        except ValueError as error:
            told.append(error)

    told: list[BaseException] = []
    with ScriptedServer(hang()) as server:
        thread = threading.Thread(target=wait_for_ever, args=(server.url, told), daemon=True)
        thread.start()
        with pytest.raises(ChatGLMError) as caught:
            ChatGLM(endpoint_url=server.url, timeout=0.3).invoke("x")
        assert caught.value.kind == "first_byte_timeout"
        thread.join(0.5)
        assert thread.is_alive() and told == []
    thread.join(5)
    assert len(told) == 1  # the server went away; nothing else would have ended it


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("road", ["sync", "async"])  # the original leaves its connection to the collector
def test_no_choices_is_no_unbound_local_error(road: str, original3: Any) -> None:
    """The original for ``/v1`` ends with an ``UnboundLocalError``; ours says that the answer is empty."""
    with ScriptedServer(reply({"choices": []})) as server:
        with pytest.raises(UnboundLocalError):
            original3(endpoint_url=server.url + "v1/chat/completions").invoke("x")
        llm = ChatGLM(endpoint_url=server.url + "v1")
        with pytest.raises(ChatGLMError) as caught:
            llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
        assert caught.value.kind == "empty_reply"


def test_a_status_of_500_is_no_answer(original: Any) -> None:
    """The original hands out the error as the answer; ours raises it."""
    failing = reply({"response": "CUDA out of memory", "history": [], "status": 500})
    with ScriptedServer(failing) as server:
        assert original(endpoint_url=server.url).invoke("x") == "CUDA out of memory"
        with pytest.raises(ChatGLMError, match="CUDA out of memory") as caught:
            ChatGLM(endpoint_url=server.url).invoke("x")
        assert caught.value.kind == "server_error"


def test_a_misspelt_field_is_not_dropped(original: Any) -> None:
    """The original takes ``max_tokens=5`` in silence, and "hot" as a temperature; ours takes neither."""
    theirs, ours = original(max_tokens=5), ChatGLM()
    theirs.temperature = "hot"
    assert (theirs.max_token, theirs.temperature) == (20000, "hot")
    with pytest.raises(ChatGLMError, match="max_token"):
        ChatGLM(max_tokens=5)
    with pytest.raises(ChatGLMError, match="temperature"):
        ours.temperature = "hot"  # type: ignore[assignment]
