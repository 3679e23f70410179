"""The original's fields, each seen at a server that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManager, StdOutCallbackHandler
from langchain_core.globals import set_verbose
from langchain_core.outputs import GenerationChunk

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ParameterError

from ..support.models import Heard, both, endpoint_of, make_local_model, make_model, read_prompt, reply_with
from ..support.servers import ScriptedServer

WIRE = {
    "chatglm": {"temperature": "temperature", "top_p": "top_p", "max_token": "max_length"},
    "openai": {"temperature": "temperature", "top_p": "top_p", "max_token": "max_tokens"},
}


def sent(dialect: str, **fields: Any) -> dict[str, Any]:
    """Return the body of one question."""
    with ScriptedServer(reply_with("ok")) as server:
        assert make_model(server, dialect, **fields).invoke("x") == "ok"
        return dict(server.posts[0].body)


@both
def test_field_callbacks(dialect: str, local: LocalServer) -> None:
    """Handlers of the object hear of every question, and those of a call beside them."""
    own, of_call = Heard(), Heard()
    llm = make_local_model(local, dialect, callbacks=[own])
    said = llm.invoke("hi", config={"callbacks": [of_call]})
    llm.invoke("hi")
    assert own.ends == [said, said] and of_call.ends == [said]


@both
def test_field_tags(dialect: str, local: LocalServer) -> None:
    """Tags of the object arrive at handlers with each question."""
    heard = Heard()
    llm = make_local_model(local, dialect, tags=["of the object"], callbacks=[heard])
    llm.invoke("hi")
    asyncio.run(llm.ainvoke("hi", config={"tags": ["of the call"]}))
    assert heard.starts[0][1] == ("of the object",)
    assert set(heard.starts[1][1]) == {"of the object", "of the call"}


@both
def test_field_metadata(dialect: str, local: LocalServer) -> None:
    """Metadata of the object arrive at handlers, and are no part of what is sent."""
    heard = Heard()
    make_local_model(local, dialect, metadata={"lesson": 3}, callbacks=[heard]).invoke("hi")
    assert heard.starts[0][2]["lesson"] == 3
    assert "metadata" not in sent(dialect, metadata={"lesson": 3}, tags=["a"])


@both
def test_field_verbose(dialect: str) -> None:
    """With verbose LangChain's own handler for the screen is among those of a question, else it is not."""
    found: list[bool] = []

    class Watching(ChatGLM):
        def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
            found.append(any(isinstance(h, StdOutCallbackHandler) for h in kwargs["run_manager"].handlers))
            return super()._stream(prompt, *args, **kwargs)

    with ScriptedServer(reply_with("ok")) as server:
        for verbose in (True, False):
            list(Watching(endpoint_url=endpoint_of(server, dialect), verbose=verbose).stream("x"))
        set_verbose(True)
        try:
            list(Watching(endpoint_url=endpoint_of(server, dialect)).stream("x"))
        finally:
            set_verbose(False)
    assert found == [True, False, True]


@both
def test_field_callback_manager(dialect: str, local: LocalServer) -> None:
    """The old name is taken, with a warning that names the new one."""
    heard, url = Heard(), local.url if dialect == "openai" else local.base_url
    with pytest.warns(DeprecationWarning, match="callbacks") as caught:
        llm = ChatGLM(endpoint_url=url, api_key=local.token, callback_manager=CallbackManager([heard]))
    assert caught[0].filename == __file__
    assert heard.ends == [] and [llm.invoke("hi", max_length=64)] == heard.ends


@both
def test_field_temperature__goes_out_as_its_dialect_spells_it(dialect: str) -> None:
    """What is given goes out under the dialect's own name, as top_p and max_token do."""
    values = {"temperature": 2.5, "top_p": 0.25, "max_token": 12}
    body = sent(dialect, **values)
    assert {name: body[WIRE[dialect][name]] for name in values} == values


@both
def test_field_temperature(dialect: str, local: LocalServer) -> None:
    """The built-in model says one thing at temperature 0, and rubbish at 10."""
    steady = {make_local_model(local, dialect).invoke("hi") for _ in range(3)}
    wild = {make_local_model(local, dialect, temperature=10, top_p=1.0).invoke("hi") for _ in range(3)}
    assert len(steady) == 1 and len(wild) == 3 and not steady & wild


@both
def test_field_top_p(dialect: str, local: LocalServer) -> None:
    """The smallest share keeps the most likely word alone, whatever the temperature."""
    greedy = make_local_model(local, dialect).invoke("hi")
    assert make_local_model(local, dialect, temperature=1, top_p=0.01).invoke("hi") == greedy


@both
def test_field_max_token(dialect: str, local: LocalServer) -> None:
    """A small limit makes a short answer that begins like the long one."""
    long = make_local_model(local, dialect).invoke("hi")
    short = make_local_model(local, dialect, max_token=3 if dialect == "openai" else 10).invoke("hi")
    assert long.startswith(short) and 0 < len(short) < len(long)


@both
def test_field_model_kwargs(dialect: str) -> None:
    """Further keys of the body go out as they are, beside those of the fields."""
    body = sent(dialect, model_kwargs={"top_k": 3, "extra": {"a": [1, None, "爱"]}})
    assert (body["top_k"], body["extra"]) == (3, {"a": [1, None, "爱"]}) and read_prompt(body) == "x"


@both
def test_field_endpoint_url(dialect: str, local: LocalServer) -> None:
    """Each of the local server's two addresses answers, and a new address is asked once it is assigned."""
    llm = make_local_model(local, dialect)
    assert llm.invoke("hi").startswith("Hi!")
    with ScriptedServer(reply_with("elsewhere")) as server:
        llm.endpoint_url = endpoint_of(server, dialect)
        assert llm.invoke("hi") == "elsewhere"
        assert llm.invoke("hi", endpoint_url=endpoint_of(server, dialect)) == "elsewhere"
        assert {post.path for post in server.posts} == {"/v1/chat/completions" if dialect == "openai" else "/"}


@both
@pytest.mark.parametrize("wrong", [3, None, ["http://127.0.0.1:1/"]])
def test_field_endpoint_url__is_text(dialect: str, wrong: Any) -> None:
    """What is no text is refused with the field's name."""
    llm = ChatGLM(dialect=dialect)
    for attempt in (
        lambda: ChatGLM(endpoint_url=wrong),
        lambda: setattr(llm, "endpoint_url", wrong),
        lambda: llm.invoke("x", endpoint_url=wrong),
    ):
        with pytest.raises(ParameterError, match="endpoint_url"):
            attempt()


@both
def test_field_custom_get_token_ids(dialect: str) -> None:
    """The user's own tokenizer is asked, and the server is not."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, custom_get_token_ids=lambda text: [ord(char) for char in text])
        assert llm.get_token_ids("ab") == [97, 98] and llm.get_num_tokens("abc") == 3
        assert server.asked == []
