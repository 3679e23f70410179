"""Where a key must never show up: in what an object says of itself, in callbacks, caches and turns."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from IPython.lib.pretty import pretty
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.llms import LLM
from langchain_core.load import dumpd, dumps
from langchain_core.prompts import PromptTemplate
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError
from chatglm_magic.render.answers import mime_bundle

from .support.canary import KEY, PLACES, PROMPT, has_leaked, make_model_with_key
from .support.servers import ScriptedServer, answer, legacy, reply


class Careless(LLM):
    """The control: what an LLM is whose key is a plain text among its parameters."""

    endpoint_url: str = ""
    api_key: str = ""

    @property
    def _llm_type(self) -> str:
        return "careless"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"api_key": self.api_key}

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        return "ok"

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        from langchain_core.outputs import GenerationChunk

        yield GenerationChunk(text="ok")


def saved(llm: LLM, folder: Path, ending: str) -> str:
    path = folder / f"llm.{ending}"
    llm.save(path)
    return path.read_text(encoding="utf-8")


def old_dict(llm: LLM) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return llm.dict()


SINKS: dict[str, Callable[[Any, Path], object]] = {
    "repr": lambda llm, _: repr(llm),
    "str": lambda llm, _: str(llm),
    "pretty": lambda llm, _: pretty(llm),
    "iter": lambda llm, _: dict(llm),
    "vars": lambda llm, _: vars(llm),
    "dict": lambda llm, _: old_dict(llm),
    "asdict": lambda llm, _: llm.asdict() if hasattr(llm, "asdict") else old_dict(llm),
    "model_dump": lambda llm, _: llm.model_dump(),
    "model_dump_json": lambda llm, _: llm.model_dump_json(),
    "dumps": lambda llm, _: dumps(llm),
    "dumpd": lambda llm, _: dumpd(llm),
    "save-json": lambda llm, folder: saved(llm, folder, "json"),
    "save-yaml": lambda llm, folder: saved(llm, folder, "yaml"),
    "bind": lambda llm, _: repr(llm.bind(stop=["x"])) + dumps(llm.bind(stop=["x"])),
    "chain": lambda llm, _: repr(PromptTemplate.from_template("{x}") | llm),
    "fallbacks": lambda llm, _: repr(llm.with_fallbacks([llm])),
}


@pytest.mark.row("S10")
@pytest.mark.parametrize("sink", SINKS)
def test_a_plain_key_would_be_found(sink: str, tmp_path: Path) -> None:
    """The control: each of these ways does show the key of an LLM that keeps it as a text."""
    assert has_leaked(SINKS[sink](Careless(api_key=KEY), tmp_path))


@pytest.mark.row("S10")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sink", SINKS)
def test_nothing_an_object_says_of_itself_holds_the_key(
    sink: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Printed, dumped, saved, counted into a cache key or composed: no key, wherever it was given."""
    assert not has_leaked(SINKS[sink](make_model_with_key(place, monkeypatch), tmp_path))


@pytest.mark.row("S10")
@pytest.mark.parametrize("place", PLACES)
def test_a_request_that_is_looked_at_shows_no_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What plan() and preview() return shows the key to nobody who prints it, and holds it all the same."""
    session = Session()
    session.llm = make_model_with_key(place, monkeypatch)
    for plan in (session.llm.plan(PROMPT), session.llm.plan(PROMPT, temperature=1)):
        assert KEY in "".join(plan.request.headers.values())
        for thing in (
            plan,
            {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)},
            plan.request,
            plan.request.headers,
            plan.sent,
            pretty(plan.request),
        ):
            assert not has_leaked(thing)
        assert not has_leaked(dataclasses.asdict(plan.request))
    assert not has_leaked(session.preview(PROMPT), session.explicit_parameters(), session.settings.trait_values())


class Listener(BaseCallbackHandler):
    """Keeps all that any callback is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []


def _kept(name: str) -> Callable[..., None]:
    def hear(self: Listener, *args: Any, **kwargs: Any) -> None:
        self.heard.append((name, args, kwargs))

    return hear


for _name in [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]:
    setattr(Listener, _name, _kept(_name))


class Tracer(BaseTracer):
    """Keeps the runs a tracer would send to its service."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


def told(runs: list[Run]) -> list[Any]:
    """Return all that runs hold, those inside them too."""
    found: list[Any] = []
    for run in runs:
        found += [run.serialized, run.extra, run.inputs, run.outputs, run.error, run.events, run.tags]
        found += told(run.child_runs)
    return found


async def asynchronously(llm: LLM, config: Any) -> list[Any]:
    await llm.ainvoke(PROMPT, config)
    await llm.abatch([PROMPT], config)
    pieces = [piece async for piece in llm.astream(PROMPT, config)]
    return [*pieces, *[event async for event in llm.astream_events(PROMPT, config, version="v2")]]


def heard(llm: LLM, way: str) -> list[Any]:
    """Ask in each manner of a way; return all that callbacks, tracers and event streams were told."""
    listener, tracer, extra = Listener(), Tracer(), []
    config: Any = {"callbacks": [listener, tracer], "metadata": {"who": "me"}, "tags": ["a"]}
    try:
        if way == "sync":
            llm.invoke(PROMPT, config)
            llm.batch([PROMPT], config)
            extra = [*llm.stream(PROMPT, config), llm.generate([PROMPT], callbacks=[listener, tracer])]
        else:
            extra = asyncio.run(asynchronously(llm, config))
    except ChatGLMError:
        pass
    assert PROMPT in repr(listener.heard) and PROMPT in repr(told(tracer.runs)), "the search sees what is told"
    return [*listener.heard, *told(tracer.runs), *extra]


@pytest.mark.row("S10")
def test_callbacks_are_told_a_plain_key() -> None:
    """The control: callbacks and tracers do hear the key of an LLM that keeps it as a text."""
    assert has_leaked(heard(Careless(api_key=KEY), "sync"))


@pytest.mark.row("S10")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("dialect", ["", "v1"], ids=["chatglm", "openai"])
@pytest.mark.parametrize("works", [True, False], ids=["answered", "refused"])
def test_callbacks_tracers_and_events_hear_no_key(
    works: bool, dialect: str, way: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serialized, invocation_params, metadata, runs, errors and astream_events hold no key."""
    good = answer("a", "b") if dialect else legacy("ab")
    with ScriptedServer(good if works else reply({"error": "no"}, status=401)) as server:
        llm = make_model_with_key(place, monkeypatch, endpoint_url=server.url + dialect)
        assert not has_leaked(heard(llm, way))
        assert KEY in "".join(server.posts[0].headers.values())  # the control: it was sent


@pytest.mark.row("S10")
@pytest.mark.parametrize("name", ["api_key", "headers"])
@pytest.mark.parametrize("manner", ["invoke", "stream", "bind"])
def test_a_key_is_no_argument_of_a_call(name: str, manner: str) -> None:
    """LangChain tells callbacks the arguments of a call, and a further one is a key of the body: refused."""
    value: Any = KEY if name == "api_key" else {"X-Auth": KEY}
    listener = Listener()
    with ScriptedServer(answer("ok")) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1", callbacks=[listener])
        with pytest.raises(ChatGLMError) as caught:
            if manner == "bind":
                llm.bind(**{name: value}).invoke(PROMPT)
            else:
                list(getattr(llm, manner)(PROMPT, **{name: value}))
        assert not has_leaked(caught.value, listener.heard) and server.posts == []


@pytest.mark.row("S10")
@pytest.mark.parametrize("place", PLACES)
def test_a_cache_holds_no_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what an answer is found by nor the answer itself."""
    with ScriptedServer(answer("ok")) as server:
        cache = InMemoryCache()
        make_model_with_key(place, monkeypatch, endpoint_url=server.url + "v1", cache=cache).invoke(PROMPT)
        assert len(cache._cache) == 1 and PROMPT in repr(cache._cache)
        assert not has_leaked(cache._cache)


@pytest.mark.row("S10")
@pytest.mark.parametrize("place", PLACES)
def test_turns_and_their_displays_hold_no_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a session keeps of a question, answered or refused, and what a notebook saves of it."""
    with ScriptedServer(answer("ok"), reply({"error": "no"}, status=401)) as server:
        session = Session()
        session.llm = make_model_with_key(place, monkeypatch, endpoint_url=server.url + "v1")
        kept = session.ask(PROMPT)
        with pytest.raises(ChatGLMError):
            session.ask(PROMPT)
        assert [turn.status for turn in session.turns] == ["complete", "error"]
        for turn in session.turns:
            assert not has_leaked(turn, turn.to_json(), *mime_bundle(turn))
        assert not has_leaked(repr(kept), kept.turn) and not has_leaked(pickle.dumps(kept))
        assert KEY in "".join(server.posts[0].headers.values())
