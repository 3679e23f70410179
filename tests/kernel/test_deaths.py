"""A kernel that is restarted or killed while it streams and writes: what had come is in the store."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from jupyter_core.utils import ensure_event_loop

from ..support import stored_turns
from ..support.clock import EXACT, assert_within
from ..support.kernel_requests import CLOSED, point_at
from ..support.pages import Page
from ..support.servers import ScriptedServer
from ..support.ticking import Ticking, make_text

pytestmark = pytest.mark.heavy

LOST = 1.25 if EXACT else 3.0
"""Seconds of text that may be missing: a turn is saved once a second, and that takes a moment."""

ROUNDS = int(os.environ.get("CHATGLM_SOAK_ROUNDS", "4"))


@pytest.mark.row("D17")
@pytest.mark.parametrize("now", [False, True], ids=["asked", "killed"])
def test_a_kernel_that_is_restarted(tmp_path: Path, now: bool) -> None:
    """The server sees the close, the store has the answer so far, and the next kernel goes on with it."""
    ticking = Ticking(lambda prompt: 3 if prompt == "q2" else 1000)
    with ScriptedServer(ticking) as server, Page(tmp_path) as page:
        point_at(page, server)
        page.send("%chatglm q1")
        page.until_true(lambda: server.posts and len(ticking.sent.get("q1", ())) > 200)
        began = time.monotonic()
        page.manager.restart_kernel(now=now)
        assert_within(server.wait_closed(server.posts[0]) - began, CLOSED)
        (turn,) = stored_turns.load_turns(tmp_path)
        # Jupyter interrupts before it kills: the interrupt may or may not come to be noted.
        assert turn.status == "interrupted" or (now and turn.status == "incomplete")
        assert turn.answer.startswith(ticking.before("q1", began - (LOST if now or not EXACT else 0.1)))
        assert make_text("q1", 1000).startswith(turn.answer)
        page.ready_again()
        assert page.run("print(get_session().resume())").text == "1\n"
        page.run(f"get_session().settings.endpoint_url = {server.url + 'v1'!r}")
        assert page.run("%chatglm q2").displays == [make_text("q2", 3)]
        assert [(turn.prompt, turn.status == "complete") for turn in stored_turns.load_turns(tmp_path)] == [
            ("q1", False),
            ("q2", True),
        ]


def pieces(prompt: str) -> int:
    """Every third answer takes some seconds, so that it is saved while it comes."""
    return 200 if int(prompt.partition("q")[2]) % 3 == 2 else 15


def killed(home: Path, number: int, dice: random.Random, seen: dict[str, str]) -> None:
    """Kill a kernel that asks without end; compare what it said had ended, and what is stored.

    ``seen`` holds the prompts of all answers whose end was seen, of the earlier kernels too, by their turns' ids.
    """
    ticking = Ticking(pieces, pause=0.01)
    with ScriptedServer(ticking) as server, Page(home) as page:
        point_at(page, server)
        page.send(
            "import itertools\nfor n in itertools.count():\n"
            f"    answer = get_session().ask(f'{number}q{{n}}')\n    "
            "print(answer.turn.id, answer.turn.prompt, flush=True)"
        )
        page.until_true(lambda: len(server.posts) > 1)
        time.sleep(dice.uniform(0, 2.5))
        moment = time.monotonic()
        os.kill(page.manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
        for post in server.posts[-1:]:
            server.wait_closed(post)
        time.sleep(0.1)  # what it had said arrives
        said = "".join(heard.message["content"]["text"] for heard in page.heard if heard.kind == "stream")
        seen |= {line.split()[0]: line.split()[1] for line in said.splitlines() if "q" in line}
        posted = [post.body["messages"][-1]["content"] for post in server.posts]
    assert stored_turns.is_sound(home)
    kept = {turn.id: turn for turn in stored_turns.load_turns(home)}
    for id, prompt in seen.items():
        assert (kept[id].status, kept[id].answer) == ("complete", make_text(prompt, pieces(prompt)))
    by_prompt = {turn.prompt: turn for turn in kept.values()}
    for prompt in posted:
        assert by_prompt[prompt].answer.startswith(ticking.before(prompt, moment - LOST))
        assert make_text(prompt, pieces(prompt)).startswith(by_prompt[prompt].answer)


@pytest.mark.row("D18")
@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_kernels_killed_while_they_stream_and_write(tmp_path: Path) -> None:
    """The file is whole, every answer whose end was seen is there, at most a second of the last one is lost."""

    def rounds(worker: int) -> int:
        home, dice, seen = tmp_path / str(worker), random.Random(worker), dict[str, str]()
        with closing(ensure_event_loop()):  # jupyter_client makes one for each thread and leaves it open
            for number in range(worker, ROUNDS, 2):
                killed(home, number, dice, seen)
        return len(seen)

    with ThreadPoolExecutor(2) as workers:
        assert min(workers.map(rounds, range(min(2, ROUNDS)))) > 0
