"""The buttons of an opened turn."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from .. import look
from .calls import Act, Calls


class Buttons:
    """What can be pressed beside an opened turn, with the box in which its prompt is edited."""

    def __init__(self, delete: Any) -> None:
        self.up, self.down = look.button("Previous turn"), look.button("Next turn")
        self.close = look.button("Close")
        self.again = look.button("Ask again", tooltip="Ask this prompt again, with the parameters as they are now")
        tooltip = "Change the prompt, and go on from there in a new conversation"
        self.edit = look.button("Edit and fork", tooltip=tooltip)
        self.go_on = look.button("Continue conversation", tooltip="Make this turn's conversation the present one")
        self.copy, self.copy_prompt = look.button("Copy answer"), look.button("Copy prompt")
        self.pin = look.button("Pin", tooltip="Pin two turns to see what differs")
        # Sent whole when the field is left: a page holds back what is typed while an update is under way, and a
        # click would overtake it.
        self.prompt = look.above(w.Textarea(description="New prompt", continuous_update=False))
        self.fork, self.cancel = look.button("Fork and ask", primary=True), look.button("Cancel")
        self.editor = look.column(self.prompt, look.row(self.fork, self.cancel))
        self.rows = [
            look.row(self.up, self.down, self.close),
            look.row(self.again, self.edit, self.go_on, self.copy, self.copy_prompt, self.pin, delete),
            self.editor,
        ]

    def do(self, calls: Calls, acts: dict[Any, Act]) -> None:
        """Say what each button does."""
        for button, act in acts.items():
            button.on_click(calls.handler(act))

    @property
    def editing(self) -> bool:
        """Whether the prompt's box is open."""
        return bool(self.editor.layout.display != "none")

    def edit_prompt(self, prompt: str) -> None:
        """Open the box with a prompt, and go there."""
        self.prompt.value = prompt
        self.editor.layout.display = None
        self.prompt.focus()

    def leave(self) -> None:
        """Close the box."""
        self.editor.layout.display = "none"
