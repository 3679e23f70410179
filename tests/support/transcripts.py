"""What a page has of a transcript: its state, and every change of it applied."""

from __future__ import annotations

from typing import Any


class TranscriptState:
    """The messages of a transcript as a page has them, by what the kernel has sent."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.number = int(state.get("revision", 0))
        self.messages: list[dict[str, Any]] = [dict(message) for message in state.get("messages", ())]
        self.sent = 0
        """Characters of HTML that came."""

    def take(self, content: dict[str, Any]) -> list[str]:
        """Apply a message of the kernel's; return the ids of the messages that have another text now."""
        if content.get("do") == "all":
            self.number, self.messages = content["number"], content["messages"]
            return [message["id"] for message in self.messages]
        if content.get("do") != "change":
            return []
        assert content["number"] == self.number + 1, "a change was lost, or came twice"
        self.number += 1
        changed = []
        for kind, *values in content["changes"]:
            changed += getattr(self, f"_{kind}")(*values)
        return changed

    def text_of(self, id: str) -> str:
        """Return a message's HTML."""
        return "".join(self._find(id)["blocks"])

    def _put(self, message: dict[str, Any]) -> list[str]:
        self.messages.append(message)
        return [message["id"]]

    def _cut(self, id: str) -> list[str]:
        self.messages = [message for message in self.messages if message["id"] != id]
        return []

    def _all(self, messages: list[dict[str, Any]]) -> list[str]:
        self.messages = messages
        return [message["id"] for message in messages]

    def _reveal(self, id: str) -> list[str]:
        return []

    def _set(self, id: str, fields: dict[str, Any]) -> list[str]:
        self._find(id).update(fields)
        return []

    def _grow(self, id: str, same: int, begun: int, rest: list[str]) -> list[str]:
        message = self._find(id)
        old = [*message["blocks"], ""][same].encode("utf-16-le")[: 2 * begun].decode("utf-16-le")
        self.sent += sum(map(len, rest))
        more = [old + rest[0], *rest[1:]] if rest else []
        message["blocks"] = [*message["blocks"][:same], *more]
        return [id]

    def _find(self, id: str) -> dict[str, Any]:
        return next(message for message in self.messages if message["id"] == id)


def action(name: str, id: str = "", **values: Any) -> dict[str, Any]:
    """Return the data of the message by which a page says what its reader has done."""
    return {"method": "custom", "content": {"action": name, "id": id, "values": values}}
