"""Prompts that keep their messages, which LangChain flattens to a string before it calls an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.prompt_values import PromptValue, StringPromptValue


class MessagePrompt(str):
    """The flattened text, as the original sends it, with a ``messages`` attribute."""

    __slots__ = ("messages",)
    messages: Sequence[BaseMessage]

    def __new__(cls, text: str, messages: Sequence[BaseMessage]) -> MessagePrompt:
        self = super().__new__(cls, text)
        self.messages = messages
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return MessagePrompt, (str(self), self.messages)


class MessagePromptValue(PromptValue):
    """A prompt whose string form is :class:`MessagePrompt`."""

    messages: list[BaseMessage]
    text: str

    def to_string(self) -> str:
        return MessagePrompt(self.text, self.messages)

    def to_messages(self) -> list[BaseMessage]:
        return self.messages


def keep_messages(prompt: PromptValue) -> PromptValue:
    """Convert a prompt of messages so that it keeps them; return one that is a plain string unchanged."""
    if isinstance(prompt, StringPromptValue):
        return prompt
    return MessagePromptValue(messages=prompt.to_messages(), text=prompt.to_string())


def to_role_messages(prompt: str) -> tuple[dict[str, Any], ...]:
    """Return a prompt's messages in OpenAI's form; an empty tuple for plain text."""
    if not isinstance(prompt, MessagePrompt):
        return ()
    messages = convert_to_openai_messages(list(prompt.messages))
    return tuple(messages)


def history_pairs(prompt: str, answer: str) -> list[list[str]]:
    """Return the [prompt, answer] pairs that a turn adds to ``history``.

    A prompt of messages adds its own earlier pairs, and its last human messages with the answer. System messages
    belong to each request and aren't added.
    """
    if not isinstance(prompt, MessagePrompt):
        return [[str(prompt), answer]]
    pairs: list[list[str]] = []
    texts: list[str] = []
    for message in prompt.messages:
        if message.type == "human":
            texts.append(message.text)
        elif message.type == "ai" and texts:
            pairs.append(["\n\n".join(texts), message.text])
            texts = []
    return [*pairs, ["\n\n".join(texts) if texts else str(prompt), answer]]
