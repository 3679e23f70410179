"""The explorer: a grid that fills, is stopped, resumed and retried, and shows what its choices say."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

from chatglm_magic.session import get_session
from chatglm_magic.sweeps import Sweep
from chatglm_magic.sweeps.control import STOP_TIMEOUT_SECONDS
from chatglm_magic.sweeps.heatmap import share_colour

from .support.clock import assert_within
from .support.explorers import open_explorer, run_sweep, start_sweep
from .support.panels import click, wait_until
from .support.servers import Script, ScriptedServer, answer, by_body, hang, legacy, reply


def held(hold: threading.Event, values: tuple[float, ...], free: Script, name: str = "temperature") -> Script:
    """Answer at once, but those with these values only when ``hold`` is set."""

    def script(connection: Any, asked: Any) -> None:
        if asked.body[name] in values:
            end = time.monotonic() + 20
            while not hold.is_set() and time.monotonic() < end:
                hold.wait(0.02)
        free(connection, asked)

    return script


def text(body: Any) -> str:
    """Return an answer that names its temperature."""
    return f"colour {body['temperature']}"


# --- while it runs ---------------------------------------------------------------------------------------------


def test_the_grid_fills_while_answers_come() -> None:
    """What has come stands in its cell while others are asked or wait, each told by a word and by the bar."""
    hold = threading.Event()
    with ScriptedServer(held(hold, (0.5, 0.9), legacy(text))) as server:
        sweep = start_sweep(server, "Name a colour.", temperature=[0.1, 0.5, 0.9], jobs=2)
        with open_explorer(sweep) as shown:
            wait_until(lambda: "colour 0.1" in shown.faces[0], str(shown.faces))
            wait_until(lambda: shown.faces[1:] == ["◌ sent", "◌ sent"])
            wait_until(lambda: "1 of 3 answers" in shown.text and "left" in shown.text, "the words beside the bar")
            assert "Name a colour." in shown.text
            assert 'role="progressbar"' in shown.html and 'aria-valuenow="1"' in shown.html
            assert shown.has("Stop") and not shown.has("Resume") and not shown.has("Retry failed")
            hold.set()
            shown.ended()
            assert [face.split("\n")[1] for face in shown.faces] == ["colour 0.1", "colour 0.5", "colour 0.9"]
            assert all(face.split("\n")[2] == "10 chars" for face in shown.faces)
            assert re.search(r"3 answers · (<0\.1|\d+\.\d) s", shown.text) and "progressbar" not in shown.html
            assert not any(shown.has(name) for name in ("Stop", "Resume", "Retry failed"))


def test_each_answer_is_seen_when_it_comes() -> None:
    """Ten answers, each of which comes once the one before is seen, are ten states of the bar."""
    seen = [threading.Event() for _ in range(11)]

    def script(connection: Any, asked: Any) -> None:
        assert seen[len(server.posts) - 1].wait(10)
        legacy(text)(connection, asked)

    with ScriptedServer(script) as server:
        sweep = start_sweep(server, temperature=[0.1], samples=10, jobs=1)
        with open_explorer(sweep) as shown:
            states: list[int] = []

            def look(change: Any = None) -> None:
                bar = shown.box.bar.value
                came = int(bar.split('aria-valuenow="')[1].split('"')[0]) if bar else 10
                states.append(came)
                seen[came].set()

            shown.box.bar.observe(look, names="value")
            look()
            shown.ended()
            assert sorted(set(states)) == list(range(11))


def test_a_cell_that_was_not_asked_yet_says_that_it_waits() -> None:
    """With one question at a time the others wait, in words."""
    with (
        ScriptedServer(hang()) as server,
        open_explorer(start_sweep(server, temperature=[0.1, 0.5], jobs=1)) as shown,
    ):
        wait_until(lambda: shown.faces[0] == "◌ sent")
        assert shown.faces[1] == "○ waiting"
        assert shown.tiles[1].ground == ""


def test_a_text_that_grows_is_seen_in_its_cell() -> None:
    """Between two events of a sweep, of which there may be none for long, the cell under way shows its text."""
    hold = threading.Event()
    with (
        ScriptedServer(answer("once ", "upon ", "a time", hold=hold, pause=0.3)) as server,
        open_explorer(start_sweep(server, path="v1", temperature=[0.1, 0.5])) as shown,
    ):
        wait_until(lambda: all("running\nonce upon a time" in face for face in shown.faces), "a partial text", 5)
        hold.set()
        shown.ended()


def test_stop_ends_the_sweep_within_half_a_second_and_keeps_what_came() -> None:
    """The click itself returns at once; the answer that came stays, the server sees the connections close."""
    answers = iter([legacy(text)])
    with (
        ScriptedServer(
            by_body(lambda body: hang() if body["temperature"] == 0.5 else next(answers, hang()))
        ) as server,
        open_explorer(start_sweep(server, temperature=[0.1, 0.5], samples=3, jobs=2)) as shown,
    ):
        wait_until(lambda: len(server.posts) == 3 and shown.sweep.progress.done == 1)
        came, button = 1, shown.named("Stop")
        began = time.monotonic()
        click(button)
        clicked = time.monotonic() - began
        click(button)
        wait_until(lambda: shown.has("Resume") and "Stopped at" in shown.text, "the end", 2)
        took = time.monotonic() - began
        assert not shown.sweep.running
        assert shown.sweep.progress.done == came and "colour 0.1" in shown.faces[0]
        assert f"Stopped at {came} of 6" in shown.text and "left" not in shown.text
        first = next(post for post in server.posts if post.body["temperature"] == 0.1)
        for post in server.posts:
            if post is not first:
                server.wait_closed(post)
        assert_within(clicked, 0.1)
        assert_within(took, 0.5)


def test_a_click_on_stop_waits_for_nothing() -> None:
    """Where the thread that asks is held up, the kernel's is not: the sweep ends when it can."""
    free = threading.Event()

    async def hold_up() -> None:
        assert free.wait(10)

    with ScriptedServer(hang()) as server, open_explorer(start_sweep(server, temperature=[0.1])) as shown:
        wait_until(lambda: shown.sweep.progress.running == 1 and "sent" in shown.faces[0])
        get_session().submit(hold_up())
        began = time.monotonic()
        click(shown.named("Stop"))
        took = time.monotonic() - began
        assert shown.sweep.running
        free.set()
        shown.ended()
        assert took < STOP_TIMEOUT_SECONDS, "the click waited for the end of the sweep"


def test_resume_asks_only_what_is_missing() -> None:
    """By the server's count: what came before the stop is not asked again."""
    slow = [True]

    def choose(body: Any) -> Script:
        return hang() if slow[0] and body["temperature"] == 0.5 else legacy(text)

    with (
        ScriptedServer(by_body(choose)) as server,
        open_explorer(start_sweep(server, temperature=[0.1, 0.5, 0.9], samples=2, jobs=16)) as shown,
    ):
        wait_until(lambda: shown.sweep.progress.done == 4 and shown.sweep.progress.running == 2)
        shown.click("Stop")
        shown.ended()
        before, slow[0] = len(server.posts), False
        shown.click("Resume")
        wait_until(lambda: shown.sweep.complete)
        shown.ended()
        again = [post.body["temperature"] for post in server.posts[before:]]
        assert again == [0.5, 0.5] and "colour 0.5" in shown.faces[1]


def test_a_failure_stands_in_its_cell_and_retry_asks_it_again() -> None:
    """A failed cell says so in a word, with the reason; the button asks the failed ones alone."""
    broken = [True]

    def choose(body: Any) -> Script:
        return reply({"detail": "no such thing"}, status=400) if broken[0] and body["top_p"] == 0.9 else legacy()

    with (
        ScriptedServer(by_body(choose)) as server,
        open_explorer(run_sweep(server, top_p=[0.5, 0.9], samples=2)) as shown,
    ):
        assert shown.faces[1].startswith("✕ failed 2 of 2\n") and "400: no such thing" in shown.faces[1]
        assert "chatglm-is-failed" in shown.tile("top_p 0.9").classes
        assert "2 of 4 answers · 2 failed" in shown.text
        shown.open("top_p 0.9")
        assert "2 × the same · error" in shown.text and shown.text.count("400: no such thing") == 1
        before, broken[0] = len(server.posts), False
        shown.click("Retry failed")
        wait_until(lambda: shown.sweep.complete)
        shown.ended()
        assert [post.body["top_p"] for post in server.posts[before:]] == [0.9, 0.9]
        assert "failed" not in shown.text and not shown.has("Retry failed")
        assert "2 × the same · 2 characters" in shown.text


def test_no_more_than_12_updates_a_second() -> None:
    """However fast answers come, each widget changes at most 12 times in any second, and the last is the end."""
    with ScriptedServer(legacy(text)) as server:
        sweep = start_sweep(server, temperature=[0.1, 0.5], samples=300, jobs=8)
        with open_explorer(sweep) as shown:
            times: list[float] = []
            faces: list[float] = []
            shown.box.bar.observe(lambda change: times.append(time.monotonic()), names="value")
            shown.box.grid.observe(lambda change: faces.append(time.monotonic()), names="changed")
            shown.ended()
            assert len(times) > 1 and "600 answers" in shown.text and "300 of" not in shown.faces[0]
            for seen in (times, faces):
                assert all(sum(at <= other < at + 1 for other in seen) <= 12 for at in seen)


def test_only_a_cell_that_changed_is_sent_again() -> None:
    """Cells whose answers are all there get nothing more while others come."""
    hold = threading.Event()
    with (
        ScriptedServer(held(hold, (0.5,), legacy(text))) as server,
        open_explorer(start_sweep(server, temperature=[0.1, 0.5, 0.9], samples=2)) as shown,
    ):
        wait_until(lambda: "done" == shown.sweep.partial.cells[0].state == shown.sweep.partial.cells[2].state)
        wait_until(lambda: "2 × the same" in shown.faces[2] and "2 × the same" in shown.faces[0])
        changes: list[Any] = []
        shown.box.grid.observe(changes.append, names="changed")
        hold.set()
        shown.ended()
        assert changes and {number for change in changes for number in change["new"]} == {"1"}


# --- what it shows ---------------------------------------------------------------------------------------------


def test_colour_by_changes_the_numbers_and_colours() -> None:
    """The chosen figure comes first in each cell; the least is faint and the most strong."""
    with (
        ScriptedServer(legacy(lambda body: "x" * (10 if body["temperature"] == 0.1 else 200))) as server,
        open_explorer(run_sweep(server, temperature=[0.1, 0.5], samples=2)) as shown,
    ):
        assert [face.split("\n")[0] for face in shown.faces] == ["0.00", "0.00"]
        shown.choose("Colour by", "Length (characters)")
        assert [face.split("\n")[0] for face in shown.faces] == ["10", "200"]
        assert [tile.ground for tile in shown.tiles] == [share_colour(0), share_colour(1)]
        assert "10 200" in shown.text
        shown.choose("Colour by", "Tokens")
        assert [face.split("\n")[0] for face in shown.faces] == ["–", "–"]
        assert shown.tiles[0].ground == ""


def test_one_axis_is_a_row() -> None:
    """A sweep over one parameter has one line, its values as heads, and no choice of axes."""
    with ScriptedServer(legacy(text)) as server, open_explorer(run_sweep(server, temperature=[0.1, 0.5])) as shown:
        assert [tile.title for tile in shown.tiles] == ["temperature 0.1", "temperature 0.5"]
        assert shown.has("Colour by") and not shown.has("Rows") and not shown.has("Columns")
        assert "temperature → 0.1 0.5" in shown.text


def test_a_sweep_of_one_cell() -> None:
    """No axis at all is one cell, named by its prompt."""
    with ScriptedServer(legacy("hi")) as server, open_explorer(run_sweep(server, "Only this?")) as shown:
        assert [tile.title for tile in shown.tiles] == ["Only this?"]
        shown.open("Only this?")
        assert "Opened: Only this?" in shown.text


def test_three_axes_are_small_multiples_and_any_two_of_them_span_the_tables() -> None:
    """A table with a caption for each value of the third axis; other rows and columns move the same buttons."""
    with ScriptedServer(legacy(text)) as server:
        sweep = run_sweep(server, temperature=[0.1, 0.5], top_p=[0.3, 0.6, 0.9], max_token=[10, 20])
        with open_explorer(sweep) as shown:
            assert "max_token 10" in shown.text and "max_token 20" in shown.text
            tiles = shown.tiles
            assert [tile.title for tile in tiles[:2]] == [
                "temperature 0.1, top_p 0.3, max_token 10",
                "temperature 0.1, top_p 0.6, max_token 10",
            ]
            shown.choose("Columns", "max_token")
            assert "top_p 0.3" in shown.text and "top_p 0.9" in shown.text and "max_token 10" not in shown.text
            assert {tile.number for tile in shown.tiles} == {tile.number for tile in tiles}
            shown.choose("Rows", "max_token")
            assert shown.named("Columns").value == "temperature"
            assert [tile.title for tile in shown.tiles[:2]] == [
                "temperature 0.1, top_p 0.3, max_token 10",
                "temperature 0.5, top_p 0.3, max_token 10",
            ]


def test_several_prompts_are_an_axis() -> None:
    """Each prompt is a line of the grid, and names its cells."""
    with (
        ScriptedServer(legacy(lambda body: body["prompt"].upper())) as server,
        open_explorer(run_sweep(server, ["red?", "blue?"], temperature=[0.1, 0.5])) as shown,
    ):
        assert [face.split("\n")[1] for face in shown.faces] == ["RED?", "RED?", "BLUE?", "BLUE?"]
        assert "red? (and 1 more prompt)" in shown.text
        shown.open("prompt blue?, temperature 0.5")
        assert "Opened: prompt blue?, temperature 0.5" in shown.text and "BLUE?" in shown.text


def test_more_than_400_cells_are_one_heat_map_and_a_cell_is_picked_by_its_values() -> None:
    """There is no button for each cell; the dropdowns open any, the map follows the choices to the end."""
    with ScriptedServer(legacy(lambda body: f"{body['seed']} {body['top_p']}")) as server:
        sweep = start_sweep(server, seed=range(67), top_p=[0.1, 0.2, 0.3], temperature=[0.5, 0.9])
        with open_explorer(sweep) as shown:
            assert not shown.tiles and len(shown.widgets()) < 60
            shown.ended()
            assert shown.html.count("<td") >= 402 and "Length (characters)" in shown.html
            shown.choose("seed", "66")
            shown.choose("top_p", "0.2")
            shown.choose("temperature", "0.9")
            shown.click("Open cell")
            assert "Opened: seed 66, top_p 0.2, temperature 0.9" in shown.text and "66 0.2" in shown.text
            shown.choose("Colour by", "Failed")
            assert "Failed" in shown.html and "Length (characters)" not in shown.html


def test_400_cells_are_buttons() -> None:
    """The most that are."""
    with (
        ScriptedServer(legacy(lambda body: f"{body['seed']}")) as server,
        open_explorer(run_sweep(server, seed=range(400))) as shown,
    ):
        assert len(shown.tiles) == 400 and "399" in shown.faces[-1]


# --- where it came from ----------------------------------------------------------------------------------------


def test_a_loaded_sweep_is_explored_and_resumed_with_the_present_session(tmp_path: Path) -> None:
    """Read from a file it is whole, with no Stop; what it lacks is asked where the session asks now."""
    with ScriptedServer(by_body(lambda body: hang() if body["temperature"] == 0.5 else legacy(text))) as server:
        sweep = start_sweep(server, temperature=[0.1, 0.5])
        wait_until(lambda: sweep.progress.done == 1)
        path = sweep.stop().save(tmp_path / "colours.jsonl")
    with ScriptedServer(legacy(text)) as other, open_explorer(Sweep.load(path)) as shown:
        assert "colour 0.1" in shown.faces[0] and shown.faces[1] == "○ waiting"
        assert not shown.has("Stop") and "1 of 2 answers" in shown.text
        get_session().settings.endpoint_url = other.url
        shown.click("Resume")
        wait_until(lambda: shown.sweep.complete)
        shown.ended()
        assert [post.body["temperature"] for post in other.posts] == [0.5] and "colour 0.5" in shown.faces[1]
