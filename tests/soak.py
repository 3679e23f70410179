"""``python -m tests.soak [CALLS]``: thousands of calls, a tenth of them faulted; nothing is left over."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import sys
import threading
from collections import Counter

import psutil

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

from .support.servers import Script, ScriptedServer, answer, chunk, hang, legacy, raw, reply, sse

FAULTS: list[Script] = [
    raw(b""),
    raw(b"nonsense\r\n\r\n"),
    raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    reply({"error": "no"}, status=500),
    reply("<html><title>Log in</title>", kind="text/html"),
    sse([chunk("half")], done=False),
    sse(["{broken"]),
    hang(0.3),
]
MEMORY_LEFT = 5 * 2**20
WARM_UP = 0.2


def used() -> tuple[int, int, int, int]:
    """Return what this process holds: open files, threads, connections, bytes of memory."""
    gc.collect()
    me = psutil.Process()
    established = [item for item in me.net_connections() if item.status == psutil.CONN_ESTABLISHED]
    return me.num_fds(), threading.active_count(), len(established), me.memory_info().rss


def served(sound: Script, seed: int) -> ScriptedServer:
    """Return a server that answers, nine times of ten, and keeps no list of what it was asked."""
    dice = random.Random(seed)
    faults = itertools.cycle(FAULTS)

    def script(connection, asked):  # type: ignore[no-untyped-def]
        server.asked.clear()
        (next(faults) if dice.random() < 0.1 else sound)(connection, asked)

    server = ScriptedServer(script)
    return server


def ask(llm: ChatGLM, count: int) -> Counter[str]:
    """Ask in every way; return how many calls ended how."""
    ended: Counter[str] = Counter()

    def tell(outcomes: list[object]) -> None:
        ended.update(item.kind if isinstance(item, ChatGLMError) else "ok" for item in outcomes)
        strange = [item for item in outcomes if isinstance(item, Exception) and not isinstance(item, ChatGLMError)]
        assert not strange, strange[0]

    for _ in range(count // 4):
        for way in (lambda: llm.invoke("x"), lambda: "".join(llm.stream("x"))):
            try:
                tell([way()])
            except ChatGLMError as error:
                tell([error])
    for _ in range(count // 40):
        tell(llm.batch(["x"] * 10, return_exceptions=True))
        tell(asyncio.run(llm.abatch(["x"] * 10, return_exceptions=True)))
    return ended


def main(calls: int) -> int:
    """Ask half of the calls in each dialect, after a warm-up; compare what is held before and after."""
    failed = False
    for name, sound, path in (("chatglm", legacy("ok"), ""), ("openai", answer("o", "k"), "v1")):
        with served(sound, 7) as server:
            llm = ChatGLM(endpoint_url=server.url + path, timeout={"first_byte": 0.2, "idle": 0.2}, max_retries=0)
            ask(llm, int(calls / 2 * WARM_UP))
            llm.close()
            before = used()
            ended = ask(llm, calls // 2)
            llm.close()
            after = used()
        grown = after[3] - before[3]
        print(f"{name}: {sum(ended.values())} calls, {dict(ended)}")
        print(f"  files {before[0]} → {after[0]}, threads {before[1]} → {after[1]}, connections", end=" ")
        print(f"{before[2]} → {after[2]}, memory {grown / 2**20:+.1f} MiB")
        share = 1 - ended["ok"] / sum(ended.values())
        left = any(now > then for now, then in zip(after[:3], before[:3], strict=True))
        failed |= left or grown > MEMORY_LEFT or not 0.05 < share < 0.2
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "error::ResourceWarning")
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
