"""A process that records: ``python -m tests.support.tape_recorder URL TAPE FIRST COUNT [each]``.

It asks COUNT questions from number FIRST on, in a batch, or one after the other with ``each``, when each answer
that it has is told on standard output.
"""

from __future__ import annotations

import sys

from chatglm_magic import ChatGLM


def main() -> None:
    """Ask and record."""
    url, tape, first, count, *each = sys.argv[1:]
    llm = ChatGLM(endpoint_url=url, tape=tape, max_concurrency=32)
    prompts = [f"问题 {number}" for number in range(int(first), int(first) + int(count))]
    if not each:
        llm.batch(prompts)
        return
    for prompt in prompts:
        llm.invoke(prompt)
        print(prompt, flush=True)


if __name__ == "__main__":
    main()
