"""A process of its own that a test interrupts: it asks many questions at once and says what became of it."""

from __future__ import annotations

import signal
import sys
import time

from chatglm_magic import ChatGLM

PROMPTS = [str(number) for number in range(8)]

WAYS = {
    "batch": lambda llm: llm.batch(PROMPTS),
    "batch_as_completed": lambda llm: list(llm.batch_as_completed(PROMPTS)),
    "generate": lambda llm: llm.generate(PROMPTS),
    "chain": lambda llm: (llm | str.strip).batch(PROMPTS),
    "with_config": lambda llm: llm.with_config(max_concurrency=8).with_retry().batch(PROMPTS),
    "invoke": lambda llm: llm.invoke("0"),
    "stream": lambda llm: list(llm.stream("0")),
}


def main() -> None:
    """Take the way's names from standard input, one after the other."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has none
    llm = ChatGLM(endpoint_url=sys.argv[1], max_concurrency=8)
    for line in sys.stdin:
        began = time.monotonic()
        try:
            WAYS[line.strip()](llm)
        except KeyboardInterrupt:
            print(f"interrupted {time.monotonic() - began:.2f}", flush=True)
        except BaseException as error:  # what else may come is what the test is about
            print(repr(error), flush=True)
        else:
            print("answered", flush=True)


if __name__ == "__main__":
    main()
