"""Panels on each kernel, whichever thread their clicks come in: beside cells, beside each other, interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..support.clock import assert_within, bound
from ..support.kernel_requests import BACK, CLOSED, evaluate, interrupt, point_at, read_turns
from ..support.pages import Page, View, Widget
from ..support.scale import choose_count
from ..support.servers import ScriptedServer
from ..support.ticking import Ticking, make_text, stalling, telling

pytestmark = pytest.mark.heavy

RUNS = choose_count(30, 100)


@contextmanager
def panels(page: Page, server: ScriptedServer, count: int = 1) -> Iterator[list[View]]:
    """Show panels in a new conversation; afterwards they are closed, and none has written to any cell."""
    point_at(page, server)
    ran = [page.run(f"from chatglm_magic import panel\nshown{n} = panel()\nshown{n}") for n in range(count)]
    yield [page.view(one) for one in ran]
    for number in range(count):
        assert page.run(f"shown{number}.close()").error is None
    said = [heard.message["content"] for heard in page.heard if heard.kind == "stream"]
    assert not [content for content in said if "locked" in content["text"] or "Traceback" in content["text"]]


def answered(view: View, prompt: str, count: int = 12) -> Widget:
    """Wait until a panel shows the whole answer to a prompt and is free; return where it stands."""
    view.page.until_true(lambda: view.holding(make_text(prompt, count)) and not view.busy, 20, of=view.text[-500:])
    (place,) = view.holding(make_text(prompt, count))
    return place


def frames(place: Widget) -> list[str]:
    """Return what a reader saw in a place, one text for each change, an emptied place left out."""
    seen = [Widget("", {**place.state, **change}).text for _, change in place.changes if "value" in change]
    return [frame for frame in seen if frame]


@pytest.mark.row("D7")
def test_clicks_while_a_cell_runs(page: Page) -> None:
    """Where the kernel has subshells they are handled at once, else after the cell: one request, no deadlock."""
    with ScriptedServer(telling()) as server, panels(page, server) as (view,):
        running = page.send("import time; time.sleep(1)")
        page.until("execute_input")
        view.send("q1", times=3)
        ended = page.done(running)
        answered(view, "q1")
        (post,) = server.posts
        assert page.has_subshell or post.at >= ended - 0.3
        assert evaluate(page, "[t.prompt for t in get_session().turns]") == ["q1"]


@pytest.mark.row("D8")
def test_a_click_while_a_magic_streams(page: Page) -> None:
    """Ten times: each text in its own place, one order of turns in memory and store, nothing locked."""
    slow = Ticking(lambda prompt: 60, pause=0.01)
    with ScriptedServer(slow) as server, panels(page, server) as (view,):
        for number in range(10):
            running = page.send(f"%chatglm c{number}")
            page.until_true(lambda: server.posts and f"c{number}" in slow.sent)  # noqa: B023
            view.send(f"p{number}")
            assert page.wait(running).displays == [make_text(f"c{number}", 60)]
            place = answered(view, f"p{number}", 60)
            assert all(make_text(f"p{number}", 60).startswith(frame) for frame in frames(place)[-3:])
        known = read_turns(page)
        assert [prompt for _, prompt, _ in known] == [f"{who}{n}" for n in range(10) for who in "cp"]
        assert all(found == ["complete", found[1], make_text(found[1], 60)] for found in known)


@pytest.mark.row("D9")
def test_an_interrupt_while_only_a_panel_streams(page: Page) -> None:
    """It leaves the panel's answer alone, whether a cell runs or none; Stop ends it within a second."""
    slow = Ticking(lambda prompt: 2000)
    with ScriptedServer(slow) as server, panels(page, server) as (view,):
        view.send("q1")
        view.until_sees("q1w5")
        interrupt(page)
        running = page.send("import time; time.sleep(30)")
        page.until("execute_input")
        time.sleep(0.1)
        struck = interrupt(page)
        ran = page.wait(running)
        assert ran.error is not None and ran.error["ename"] == "KeyboardInterrupt"
        came = len(slow.before("q1", time.monotonic()).split())
        view.until_sees(f"q1w{came + 25} ")
        assert server.posts[0].closed_at is None and time.monotonic() - struck > BACK
        pressed = time.monotonic()
        view.stop()
        closed = server.wait_closed(server.posts[0])
        assert_within(closed - pressed, CLOSED)
        view.until_free(bound(CLOSED))
        ((status, _, kept),) = read_turns(page)
        assert status == "interrupted" and make_text("q1", 2000).startswith(kept)
        assert kept.strip() in view.text and "stopped" in view.text.lower()


@pytest.mark.row("D10")
def test_an_error_in_a_callback_is_seen(page: Page) -> None:
    """What a callback raises stands in the panel, is in the record, and the panel goes on."""
    with ScriptedServer(telling()) as server, panels(page, server) as (view,):
        view.choose("seed", "seven")
        view.until_sees("Seed must be")
        page.run("get_session().settings.endpoint_url = 'http://127.0.0.1:9/v1'")
        view.send("q1")
        view.until_sees("No server answers at")
        view.until_free()
        ((status, prompt, _),) = read_turns(page)
        assert (status, prompt) == ("error", "q1")
        page.run(f"get_session().settings.endpoint_url = {server.url + 'v1'!r}")
        view.send("q2")
        answered(view, "q2")


@pytest.mark.row("D12")
@pytest.mark.timeout(120)
def test_many_answers_beside_many_cells(page: Page) -> None:
    """No text is mixed with another, no update lost, and each answer whole to the last character."""
    quick = Ticking(lambda prompt: 12, pause=0.004)  # an answer takes longer than the next cell to begin
    with ScriptedServer(quick) as server, panels(page, server) as (view,):
        heard_before = len(page.heard)
        for number in range(RUNS):
            view.send(f"p{number}")
            ran = page.run(f"%chatglm c{number}")
            assert ran.displays == [make_text(f"c{number}")]
            place = answered(view, f"p{number}")
            seen = frames(place)
            assert seen and seen[-1] == make_text(f"p{number}"), (number, seen)
            assert all(make_text(f"p{number}").startswith(frame) for frame in seen), (number, seen)
            assert seen == sorted(seen, key=len), "an older update came after a newer one"
        both = [(quick.sent[f"p{n}"], quick.sent[f"c{n}"]) for n in range(RUNS)]
        assert sum(one[0][0] < other[-1][0] and other[0][0] < one[-1][0] for one, other in both) > RUNS / 2
        written = [heard for heard in page.heard[heard_before:] if heard.kind in ("stream", "error")]
        assert not written, "something was written into a cell"
        known = read_turns(page)
        assert len(known) == 2 * RUNS
        assert all(found == ["complete", found[1], make_text(found[1])] for found in known)


@pytest.mark.row("D13")
def test_two_panels_and_two_cells(page: Page) -> None:
    """One session: each answer in its own place, all four turns kept, none mixed with another."""
    slow = Ticking(lambda prompt: 20, pause=0.01)
    with ScriptedServer(slow) as server, panels(page, server, count=2) as (one, other):
        for number in range(3):
            one.send(f"p{number}")
            other.send(f"o{number}")
            cells = [page.send(f"%chatglm {who}{number}") for who in "cd"]
            for who, cell in zip("cd", cells, strict=True):
                assert page.wait(cell).displays == [make_text(f"{who}{number}", 20)]
            for view, mine, others in ((one, "p", "o"), (other, "o", "p")):
                place = answered(view, f"{mine}{number}", 20)
                assert not any(f"{who}{number}w" in place.text for who in (others, "c", "d"))
        known = read_turns(page)
        assert sorted(prompt for _, prompt, _ in known) == sorted(f"{who}{n}" for who in "pocd" for n in range(3))
        assert all(found == ["complete", found[1], make_text(found[1], 20)] for found in known)


@pytest.mark.row("D14")
def test_clicks_and_sliders_while_an_answer_streams(page: Page) -> None:
    """A double click and a Send too many ask nothing; what a slider says after Send is for the next question."""
    with ScriptedServer(stalling(5), telling()) as server, panels(page, server) as (view,):
        view.choose("temperature", 0.25)
        view.send("q1", times=2)
        view.until_sees("q1w")
        view.choose("temperature", 0.75)
        page.done(view.send("q2"))
        page.until_true(lambda: evaluate(page, "get_session().settings.temperature") == 0.75)
        assert len(server.posts) == 1 and server.posts[0].body["temperature"] == 0.25
        view.stop()
        view.until_free()
        view.send("q3")
        answered(view, "q3")
        assert [post.body["temperature"] for post in server.posts] == [0.25, 0.75]
        asked = evaluate(page, "[t.asked['temperature'] for t in get_session().turns]")
        assert asked == [0.25, 0.75]
        page.run("get_session().reset_parameter('temperature')")
