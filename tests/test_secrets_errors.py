"""Errors, tracebacks and logs hold no key, whatever went wrong and whoever looks at them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from chatglm_magic import ChatGLM, get_session
from chatglm_magic.errors import ChatGLMError

from .support.canary import (
    ECHOES,
    KEY,
    PLACES,
    PROMPT,
    ROADS,
    WAYS,
    ask_by,
    has_leaked,
    list_frames,
    make_model_with_key,
    open_road,
    walk_carried,
)
from .support.servers import ScriptedServer, answer, chunk, hang, reply, sse


def from_the_package_on(error: BaseException) -> BaseException:
    """Take the frames of the tests, which know the key, off a traceback."""
    trace = error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).parent == Path(__file__).parent:
        trace = trace.tb_next
    return error.with_traceback(trace)


def raised(attempt: Callable[[], object]) -> BaseException:
    """Return what an attempt raised; the frames of this file, which know the key, are taken off."""
    try:
        attempt()
    except BaseException as error:
        return from_the_package_on(error)
    raise AssertionError("the road did not fail")


@pytest.mark.row("S14")
def test_an_error_of_requests_leads_to_the_key() -> None:
    """The control: its request is one step away, and the frames it passed show the headers."""
    with ScriptedServer(reply("", status=401)) as server, pytest.raises(requests.HTTPError) as error:
        requests.post(server.url, headers={"X-Auth": KEY}, timeout=5).raise_for_status()
    assert any(has_leaked(text) for text in walk_carried(error.value))
    with pytest.raises(requests.ConnectionError) as lost:
        requests.post("http://127.0.0.1:1/", headers={"X-Auth": KEY}, timeout=5)
    assert any(has_leaked(shown) for shown in list_frames(lost.value))


@pytest.mark.row("S14")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*ROADS, *ECHOES])
def test_no_error_holds_the_key_or_leads_to_it(name: str, way: str, place: str) -> None:
    """Neither its text, its causes and what they hold, nor any variable of the frames it passed."""
    with open_road(name, place) as llm:
        error = raised(lambda: ask_by(llm, way))
    assert isinstance(error, ChatGLMError), error
    assert not has_leaked(error, error.args, vars(error))
    assert not [text for text in walk_carried(error) if has_leaked(text)]
    if name in ROADS:
        assert not [shown[:200] for shown in list_frames(error) if has_leaked(shown)]


@pytest.mark.row("S14")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ECHOES)
def test_no_frame_holds_the_key_that_a_server_repeats(name: str, way: str) -> None:
    """What was read stands in variables; a traceback that is shown with them must not lead there."""
    with open_road(name) as llm:
        error = raised(lambda: ask_by(llm, way))
    assert not [shown[:200] for shown in list_frames(error) if has_leaked(shown)]


REFUSED: dict[str, Callable[[], object]] = {
    "value": lambda: ChatGLM(api_key=KEY, temperature="hot"),
    "name": lambda: ChatGLM(api_key=KEY, tempratur=1),
    "headers": lambda: ChatGLM(headers={"X-Auth": KEY, "X-Odd": 5}),
    "assigned": lambda: setattr(ChatGLM(), "headers", {"X-Auth": KEY, "X-Odd": 5}),
    "misspelt": lambda: setattr(ChatGLM(), "api_kez", KEY),
    "password": lambda: ChatGLM(endpoint_url=f"http://u:{KEY}@127.0.0.1:1/").invoke(PROMPT),
}


@pytest.mark.row("S14")
@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_field_does_not_show_the_key_beside_it(what: str) -> None:
    """A constructor's arguments hold the key as it was typed: no frame of ours keeps them when it raises."""
    error = raised(REFUSED[what])
    assert isinstance(error, ChatGLMError) and not has_leaked(error)
    assert not [text for text in walk_carried(error) if has_leaked(text)]
    assert not [shown[:200] for shown in list_frames(error) if has_leaked(shown)]


@pytest.mark.row("S14")
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_shows_no_key(place: str) -> None:
    """Ctrl-C raises in the middle of a library that has the headers in its hands; they stay there."""
    with open_road("interrupt", place) as llm:
        error = raised(lambda: ask_by(llm, "sync"))
    assert isinstance(error, KeyboardInterrupt)
    assert not [shown[:200] for shown in list_frames(error) if has_leaked(shown)]
    assert not [text for text in walk_carried(error) if has_leaked(text)]


async def pieces(llm: ChatGLM, prompt: str) -> list[str]:
    return [piece async for piece in llm.astream(prompt)]


@pytest.mark.row("S14")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("manner", [ChatGLM.ainvoke, pieces], ids=["ainvoke", "astream"])
def test_a_cancelled_task_shows_no_key(manner: Any, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling raises inside the library too."""

    async def cancelled(llm: ChatGLM) -> BaseException:
        task = asyncio.create_task(manner(llm, PROMPT))
        await asyncio.to_thread(server.wait_posts)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return from_the_package_on(error)
        raise AssertionError("it was not cancelled")

    with ScriptedServer(hang()) as server:
        error = asyncio.run(cancelled(make_model_with_key(place, monkeypatch, endpoint_url=server.url)))
    assert not [shown[:200] for shown in list_frames(error) if has_leaked(shown)]


class Everything(logging.Handler):
    """Keeps every record of every logger, as text and with its arguments."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept += [record.getMessage(), repr(record.args), repr(vars(record)), self.format(record)]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Put every logger there is at DEBUG; give what they say."""
    handler, root = Everything(), logging.getLogger()
    names = (
        "urllib3.connectionpool",
        "requests",
        "aiohttp.client",
        "asyncio",
        "httpx",
        "chatglm_magic",
        "langchain",
    )
    loggers = [root, *(logging.getLogger(name) for name in (*names, *logging.root.manager.loggerDict))]
    before = [(logger, logger.level, logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate, logger.disabled = True, False
    root.addHandler(handler)
    yield handler.kept
    root.removeHandler(handler)
    for logger, level, propagate, disabled in reversed(before):
        logger.level, logger.propagate, logger.disabled = level, propagate, disabled
    for logger in loggers:
        logger.manager._clear_cache()


@pytest.mark.row("S15")
def test_urllib3_logs_a_query(logged: list[str]) -> None:
    """The control: what stands in an address is logged, so that a key must never stand there."""
    with ScriptedServer(reply({})) as server:
        requests.post(f"{server.url}?api_key={KEY}&q={PROMPT}", data="{}", timeout=5)
    assert has_leaked(*logged) and any(PROMPT in text for text in logged)


@pytest.mark.row("S15")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_no_log_holds_the_key_or_the_prompt(
    logged: list[str], way: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All loggers at DEBUG, their records' arguments too: answered, streamed, asked again, refused, broken off."""
    scripts = [
        answer("an-answer-of-the-model"),
        reply({"error": "Loading model"}, status=503),
        answer("again"),
        reply({"error": "no"}, status=401),
        sse([chunk("half")], done=False),
    ]

    async def together(llm: ChatGLM) -> list[Any]:
        return await asyncio.gather(*[llm.ainvoke(PROMPT) for _ in scripts[1:]], return_exceptions=True)

    with ScriptedServer(*scripts) as server:
        llm = make_model_with_key(place, monkeypatch, endpoint_url=server.url + "v1")
        for _ in scripts[1:]:
            if way == "async":
                asyncio.run(together(llm), debug=True)
                break
            with suppress(ChatGLMError):
                llm.invoke(PROMPT)
        get_session().llm = llm
        get_session().probe()
        assert KEY in "".join(server.posts[0].headers.values())
    logging.getLogger("chatglm_magic").debug("the end")
    assert any("the end" in text for text in logged)
    assert not has_leaked(*logged)
    assert not [text for text in logged if PROMPT in text or "an-answer" in text]
