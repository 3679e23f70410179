"""A prompt that keeps its messages: LangChain flattens them to a string on the way to an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_openai_messages
from langchain_core.outputs import GenerationChunk
from langchain_core.prompt_values import PromptValue, StringPromptValue
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from .request_plan import RequestPlan


class Spoken(str):
    """The flattened text, as the original sends it, that knows the messages it was made of."""

    __slots__ = ("messages",)
    messages: Sequence[BaseMessage]

    def __new__(cls, text: str, messages: Sequence[BaseMessage]) -> Spoken:
        self = super().__new__(cls, text)
        self.messages = messages
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Spoken, (str(self), self.messages)


class PlannedPrompt(str):
    """A prompt's text with the plan of its request, on its way through LangChain, and the chunk that came last.

    LangChain hands on text alone, of a prompt as of an answer.
    """

    __slots__ = ("chunk", "plan")
    plan: RequestPlan
    chunk: GenerationChunk

    def __new__(cls, plan: RequestPlan) -> PlannedPrompt:
        self = super().__new__(cls, plan.prompt)
        self.plan = plan
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # a tracer's copy knows no plan, and with it no key


class PlannedPromptValue(PromptValue):
    """A prompt whose string form is a :class:`PlannedPrompt`."""

    _prompt: PlannedPrompt = PrivateAttr()

    @classmethod
    def of(cls, prompt: PlannedPrompt) -> PlannedPromptValue:
        """Return the value that LangChain converts to this very prompt."""
        self = cls()
        self._prompt = prompt
        return self

    def to_string(self) -> str:
        return self._prompt

    def to_messages(self) -> list[BaseMessage]:
        return [HumanMessage(str(self._prompt))]


class SpokenPrompt(PromptValue):
    """A prompt whose string form is :class:`Spoken`."""

    messages: list[BaseMessage]
    text: str

    def to_string(self) -> str:
        return Spoken(self.text, self.messages)

    def to_messages(self) -> list[BaseMessage]:
        return self.messages


def keeping_messages(prompt: PromptValue) -> PromptValue:
    """Return a prompt of messages in a form that keeps them; one that is a plain string stays as it is."""
    if isinstance(prompt, StringPromptValue | PlannedPromptValue):
        return prompt
    return SpokenPrompt(messages=prompt.to_messages(), text=prompt.to_string())


def with_roles(prompt: str) -> tuple[dict[str, Any], ...]:
    """Return a prompt's messages with their roles, in OpenAI's form; none for plain text."""
    if not isinstance(prompt, Spoken):
        return ()
    found = convert_to_openai_messages(list(prompt.messages))
    return tuple(found)


def asked_text(prompt: str) -> str:
    """Return what a conversation remembers as the question: a single message's own words, without its role."""
    if isinstance(prompt, Spoken) and len(prompt.messages) == 1 and isinstance(prompt.messages[0].content, str):
        return prompt.messages[0].content
    return str(prompt)
