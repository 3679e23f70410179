"""``ChatGLM`` in Dask's workers: other processes, which have no key but their environment's."""

from __future__ import annotations

import os
import pickle
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')

from distributed import Client, LocalCluster

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import EndpointError, ResponseError

from .support.scale import choose_count

pytestmark = pytest.mark.heavy

CORPUS = Path(__file__).parent.parent / "training" / "corpus"
NUMBER = choose_count(100, 1000)


def prompts() -> list[str]:
    """Return the usual questions in English and Chinese, which the built-in model has many answers to."""
    usual = tomllib.loads((CORPUS / "usual.toml").read_text(encoding="utf-8"))
    found = [question for questions in usual.values() for question in questions]
    return (found * (NUMBER // len(found) + 1))[:NUMBER]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """The local server with the built-in model."""
    with LocalServer() as started:
        yield started


@pytest.fixture(scope="module")
def workers(server: LocalServer) -> Iterator[Client]:
    """Two worker processes on loopback, without a dashboard, with the server's key in their environment."""
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=True,
        host="127.0.0.1",
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        env={"CHATGLM_API_KEY": server.token},
    )
    with cluster, Client(cluster) as client:
        yield client


def asked_there(prompt: str, llm: ChatGLM) -> tuple[int, bool, str]:
    """Ask in a worker; return its process, whether the object brought a key along, and the answer."""
    return os.getpid(), llm.api_key is not None, llm.invoke(prompt)


def test_many_prompts_over_two_workers(server: LocalServer, workers: Client) -> None:
    """All answers arrive, from both workers and without the parent's key, and equal the undistributed run's."""
    questions = prompts()
    llm = ChatGLM(endpoint_url=server.url, api_key=server.token, temperature=0, max_token=4)
    told = workers.gather(workers.map(asked_there, questions, llm=llm, pure=False))
    answers = [answer for _, _, answer in told]
    assert answers == llm.batch(questions)
    assert len(answers) == NUMBER and all(answers) and len(set(answers)) > NUMBER // 10
    processes = {process for process, _, _ in told}
    assert len(processes) == 2 and os.getpid() not in processes
    assert not any(had_key for _, had_key, _ in told)


def test_a_pickle_holds_no_key() -> None:
    """What goes to a worker has neither the key nor a header; all else is as it was."""
    llm = ChatGLM(
        endpoint_url="http://127.0.0.1:1/v1", api_key="sk-canary", headers={"X": "canary"}, temperature=0.5
    )
    llm.history = [["问", "答"]]
    data = pickle.dumps(llm)
    there = pickle.loads(data)  # noqa: S301 - our own bytes
    assert b"canary" not in data and there.api_key is None and there.headers is None
    assert llm.api_key is not None and llm.api_key.get_secret_value() == "sk-canary"
    assert there.model_dump() == llm.model_dump() | {"api_key": None}
    assert there.model_fields_set == llm.model_fields_set  # /v1 sends only what was set


def test_an_error_comes_home_as_it_is(server: LocalServer, workers: Client) -> None:
    """A worker's error arrives with its class, its kind and its message, and no key."""
    nobody = ChatGLM(endpoint_url="http://127.0.0.1:1/v1", max_retries=0)
    with pytest.raises(EndpointError, match="No server answers") as caught:
        workers.submit(asked_there, "x", nobody).result()
    assert caught.value.kind == "connect"
    missing = ChatGLM(endpoint_url=server.url + "/nothing", dialect="openai")
    with pytest.raises(ResponseError) as refused:
        workers.submit(asked_there, "x", missing).result()
    assert (refused.value.kind, refused.value.status) == ("not_found", 404)
    assert server.token not in repr(refused.value)
