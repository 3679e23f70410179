"""``python -m tests.support.chat_notebook`` writes the tape and the outputs of notebooks/05-chat-model.ipynb.

What a GLM-4.6 behind vLLM would send is written here by hand, as the notebook says: the built-in model can't
decide to call a tool. The notebook's own cells send the requests.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from .servers import Asked, Script, ScriptedServer, chunk, sse

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05-chat-model.ipynb"
TAPE = NOTEBOOK.with_suffix(".jsonl")
ADDRESS = "http://127.0.0.1:8000/v1"


def glm() -> Script:
    """Answer the notebook's requests: think, call a tool, read its results, or fill in an object."""

    def script(connection: socket.socket, asked: Asked) -> None:
        body = asked.body
        last = body["messages"][-1]
        results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        if "response_format" in body:
            events = text_events('{"name": "Paris", "country": "France", "inhabitants": 2100000}')
        elif last["role"] == "tool" and "No weather station" in last["content"]:
            events = think("Oslo failed, so I only report the two that worked.")
            events += text_events(
                "In Paris it's 12 degrees, in 北京 3 degrees. There is no weather station in Oslo."
            )
        elif last["role"] == "tool":
            events = text_events(" ".join(results))
        elif "Oslo" in last["content"]:
            events = think("Three cities, so three calls.") + call_events("Paris", "北京", "Oslo")
        elif "Paris" in last["content"] and body.get("tools"):
            events = think("I need the weather in Paris.") + call_events("Paris")
        else:
            events = think("Two sentences are enough. ") + text_events(
                "Low temperatures sharpen the distribution, so the most likely token wins. High ones flatten it."
            )
        reason = "tool_calls" if any("tool_calls" in json.dumps(event) for event in events) else "stop"
        usage = {"prompt_tokens": 40, "completion_tokens": len(events), "total_tokens": 40 + len(events)}
        ends = [chunk(None, finish_reason=reason), {"choices": [], "usage": usage}]
        events = [event | {"model": "glm-4.6"} for event in [chunk("", role="assistant"), *events, *ends]]
        sse(events)(connection, asked)

    return script


def think(text: str) -> list[dict[str, Any]]:
    """Return the pieces of a thought."""
    return [chunk(None, reasoning_content=f"{word} ") for word in text.split()]


def text_events(text: str) -> list[dict[str, Any]]:
    """Return the pieces of a text."""
    return [chunk(text[at : at + 6]) for at in range(0, len(text), 6)]


def call_events(*cities: str) -> list[dict[str, Any]]:
    """Return the pieces of calls for these cities."""
    events = []
    for index, city in enumerate(cities):
        begun = {"index": index, "id": f"call_{index + 1}", "type": "function"}
        events.append(chunk(None, tool_calls=[begun | {"function": {"name": "get_weather", "arguments": ""}}]))
        for part in ('{"city": ', json.dumps(city, ensure_ascii=False) + "}"):
            events.append(chunk(None, tool_calls=[{"index": index, "function": {"arguments": part}}]))
    return events


def main() -> None:
    """Record the tape with the notebook's own requests; then run the notebook as it is, and save its outputs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    TAPE.unlink(missing_ok=True)
    with ScriptedServer(glm()) as server:
        recording = nbformat.from_dict(notebook)
        for cell in recording.cells:
            cell.source = cell.source.replace(ADDRESS, f"{server.url}v1").replace(
                'tape_mode="replay"', 'tape_mode="auto"'
            )
        run(recording)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    run(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, NOTEBOOK)


def run(notebook: Any) -> None:
    """Run all cells in the notebook's folder."""
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()


if __name__ == "__main__":
    main()
