"""Connections are counted: a question gives its place back, however it ended."""

from __future__ import annotations

import os

import pytest

from .support.servers import ScriptedServer, chunk, legacy, raw, reply, sse
from .support.stores import run_code

ASKS = """
import asyncio, resource, sys
from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (144, hard))  # sixteen places
llm = ChatGLM(endpoint_url=sys.argv[1], timeout={"first_byte": 3}, max_retries=0)

async def ask(number):
    if number % 4 == 0:  # leaves after the first piece
        async for piece in llm.astream("q"):
            return piece
    try:
        return await llm.ainvoke("q")
    except ChatGLMError as error:
        return error.kind

async def main():
    found = [await ask(number) for number in range(40)]
    print(len(found), found.count("pool_timeout"), found.count("ok"))

asyncio.run(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no limit of open files")
def test_more_questions_one_after_another_than_there_are_places() -> None:
    """Answered, left early, refused or broken off: none of them keeps its place."""
    endings = [legacy("ok"), reply({"detail": "no"}, status=500), raw(b""), reply("no JSON")]
    with ScriptedServer(*endings * 9, legacy("ok")) as server:
        assert run_code(ASKS, server.url).startswith("40 0 ")
    with ScriptedServer(sse([chunk("ok"), chunk("", finish_reason="stop")])) as server:
        assert run_code(ASKS, server.url + "v1") == "40 0 40\n"
