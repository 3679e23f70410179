"""A prompt that keeps its messages: LangChain flattens them to a string on the way to an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.prompt_values import PromptValue, StringPromptValue


class MessagePrompt(str):
    """The flattened text, as the original sends it, that knows the messages it was made of."""

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


def keeping_messages(prompt: PromptValue) -> PromptValue:
    """Return a prompt of messages in a form that keeps them; one that is a plain string stays as it is."""
    if isinstance(prompt, StringPromptValue):
        return prompt
    return MessagePromptValue(messages=prompt.to_messages(), text=prompt.to_string())


def with_roles(prompt: str) -> tuple[dict[str, Any], ...]:
    """Return a prompt's messages with their roles, in OpenAI's form; none for plain text."""
    if not isinstance(prompt, MessagePrompt):
        return ()
    found = convert_to_openai_messages(list(prompt.messages))
    return tuple(found)


def remembered(prompt: str, answer: str) -> list[list[str]]:
    """Return what a conversation remembers of an exchange: pairs of a person's words and an answer, without roles.

    Of a prompt of messages these are its own earlier pairs, and the last words with the answer; what the system
    says belongs to each request, and is not remembered as anybody's words.
    """
    if not isinstance(prompt, MessagePrompt):
        return [[str(prompt), answer]]
    pairs: list[list[str]] = []
    asked: list[str] = []
    for message in prompt.messages:
        if message.type == "human":
            asked.append(message.text)
        elif message.type == "ai" and asked:
            pairs.append(["\n\n".join(asked), message.text])
            asked = []
    return [*pairs, ["\n\n".join(asked) if asked else str(prompt), answer]]
