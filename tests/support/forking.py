"""A process of its own that asks, forks, and asks again on both sides over the same object."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import warnings

from chatglm_magic import ChatGLM


def ask(llm: ChatGLM) -> bool:
    """Ask on every road; tell whether all answers are right."""
    found = [llm.invoke("a"), *llm.batch(["a", "a"]), "".join(llm.stream("a")), asyncio.run(llm.ainvoke("a"))]
    return found == ["aa"] * 5


def main() -> None:
    """Ask, fork, ask in the child and then in the parent; say what was right."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on fork beside threads: our point
    llm = ChatGLM(endpoint_url=sys.argv[1], timeout=5)
    before = ask(llm)
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = ask(llm) and ask(llm)
            gc.collect()
        finally:
            os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    print(before, os.waitstatus_to_exitcode(status), ask(llm), ask(llm), flush=True)


if __name__ == "__main__":
    main()
