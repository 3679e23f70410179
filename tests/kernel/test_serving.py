"""``%chatglm_serve`` in a live kernel: its progress, a download, and a second server in place of the first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ..support.kernel_requests import evaluate, point_at
from ..support.local_servers import find_engine, is_running, serve_hub, wait_for, wait_gone, write_model
from ..support.pages import Page
from ..support.servers import ScriptedServer, answer
from .conftest import installed

pytestmark = pytest.mark.heavy

pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')

ASK = "%chatglm -t 0 -m 4 hi"
KEY = "sk-before-0123456789abcdef"
SAYS = "!!!!\n[cut at max_token]"
"""What a model of zeros makes of it."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that loads at once."""
    return write_model(tmp_path / "zero.gguf")


@pytest.fixture(autouse=True)
def no_server(page: Page) -> Iterator[None]:
    """End what a test has started."""
    yield
    assert page.run("%chatglm_serve --stop").error is None
    assert servers_of(page) == []


def servers_of(page: Page) -> list[int]:
    """Return the process numbers of the local servers that the kernel has started."""
    kernel = psutil.Process(evaluate(page, "__import__('os').getpid()"))
    return [child.pid for child in kernel.children() if is_running(child.pid)]


def said(page: Page, cell: str) -> str:
    """Return what a cell has displayed so far, each update after the one before."""
    heard = [one.message for one in page.heard if one.kind in ("display_data", "update_display_data")]
    return "\n".join(
        one["content"]["data"]["text/plain"] for one in heard if one["parent_header"].get("msg_id") == cell
    )


@installed
def test_a_second_server_takes_the_place_of_the_first(page: Page, model: Path) -> None:
    """The first one's processes end; one that can't start changes nothing; --stop restores endpoint and key."""
    with ScriptedServer(answer("scripted")) as scripted:
        point_at(page, scripted)
        page.run(f"from pydantic import SecretStr\nget_session().llm.api_key = SecretStr({KEY!r})")
        assert "zero answers on this machine" in page.run(f"%chatglm_serve {model}").text
        (first,) = servers_of(page)
        engine = find_engine(first)
        assert page.run(ASK).displays == [SAYS]
        other = model.rename(model.with_name("other.gguf"))
        assert "other answers on this machine" in page.run(f"%chatglm_serve {other}").text
        wait_gone([first, engine], 5)
        (second,) = servers_of(page)
        assert page.run(ASK).displays == [SAYS]

        ran = page.run(f"%chatglm_serve {model}")
        assert ran.error is not None and ran.error["ename"] == "ServeError" and len(ran.error["traceback"]) == 1
        assert servers_of(page) == [second] and page.run(ASK).displays == [SAYS]
        assert scripted.posts == []

        assert scripted.url in page.run("%chatglm_serve --stop").text
        wait_gone([second], 5)
        assert page.run("%chatglm hi").displays == ["scripted"]
        assert scripted.posts[0].headers["authorization"] == f"Bearer {KEY}"
        assert "No local server" in page.run("%chatglm_serve --stop").text


@installed
def test_a_slow_load_reports_its_progress(page: Page, tmp_path: Path) -> None:
    """From the first second on one dim line says how long it has taken; it goes once the server answers."""
    model = write_model(tmp_path / "slow.gguf", width=1024, layers=8)
    kernel = psutil.Process(evaluate(page, "__import__('os').getpid()"))
    cell = page.send(f"%chatglm_serve {model}")
    (server,) = wait_for(kernel.children, 10)
    engine = psutil.Process(find_engine(server.pid))
    engine.suspend()
    try:
        page.until_true(lambda: "loading" in said(page, cell) and ", 2 s" in said(page, cell))
    finally:
        engine.resume()
    ran = page.wait(cell)
    assert ran.error is None and ran.text.startswith("slow answers on this machine")
    assert ran.displays == [""] and len(ran.of("update_display_data")) >= 2


@installed
def test_a_download_reports_its_progress_and_is_kept(page: Page, tmp_path: Path) -> None:
    """``%chatglm_serve OWNER/NAME`` fetches a model from the hub, says how much has come, and fetches it once."""
    data = write_model(tmp_path / "tiny.gguf", width=512, layers=3).read_bytes()
    hold = threading.Event()
    with serve_hub({"tiny.gguf": data}, hold=hold) as (url, asked):
        page.run(f"import os\nos.environ |= dict(HF_ENDPOINT={url!r}, HF_HOME={str(tmp_path / 'cache')!r})")
        cell = page.send("%chatglm_serve owner/tiny")
        share = f"{10 * 2**20 / len(data):.0%}"  # huggingface_hub counts in parts of 10 MiB
        page.until_true(lambda: f"downloading tiny.gguf {share}, 10 MB" in said(page, cell), of=share)
        hold.set()
        ran = page.wait(cell)
        assert ran.error is None and ran.text.startswith("tiny answers on this machine")
        assert "downloading tiny.gguf 100%" in said(page, cell) and ran.displays == [""]
        (first,) = servers_of(page)
        assert page.run(ASK).displays == [SAYS]
        fetched = [path for path in asked if path.startswith("GET")]
        ran = page.run("%chatglm_serve owner/tiny")
        assert ran.error is None and not ran.displays
        assert [path for path in asked if path.startswith("GET")] == fetched
        assert servers_of(page) != [first] and not is_running(first)
