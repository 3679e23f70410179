"""One truth for parameters: the session's settings and its ``ChatGLM`` follow each other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from traitlets import Bunch, TraitError

from ..errors import ParameterError
from ..forks import Rank, lock
from ..parameters import PARAMETERS
from .settings import LIMITS, SHARED, ChatGLMSettings

if TYPE_CHECKING:
    from ..llm import ChatGLM


class Handles:
    """The settings and the model of one session; the model is made on first use, as LangChain takes a second."""

    def __init__(self, settings: ChatGLMSettings) -> None:
        self.settings = settings
        self._lock = lock(Rank.PARAMETERS)
        self._llm: ChatGLM | None = None
        settings.observe(self._from_settings, names=[*SHARED, *LIMITS])

    @property
    def made(self) -> bool:
        """Whether the model has been made."""
        return self._llm is not None

    def llm(self) -> ChatGLM:
        """Return the model, made of what the settings say; only what was chosen counts as set."""
        with self._lock:
            if self._llm is None:
                from ..llm import ChatGLM

                chosen = {name: getattr(self.settings, name) for name in SHARED if name in self.settings.chosen}
                chosen["with_history"] = self.settings.with_history
                chosen["endpoint_url"] = self.settings.endpoint_url
                if self.settings.chosen & set(LIMITS):
                    chosen["timeout"] = self._timeout()
                self._follow(ChatGLM(**chosen))
            return self._llm  # type: ignore[return-value]

    def replace(self, llm: ChatGLM) -> None:
        """Put another model in the place of the present one; the settings take its values.

        :raises ParameterError: for anything that is no ``ChatGLM``.
        """
        from ..llm import ChatGLM

        if not isinstance(llm, ChatGLM):
            raise ParameterError(f"session.llm must be a ChatGLM, not {type(llm).__name__}.")
        if llm is not self._llm:
            with self._lock:
                self.let_go()
                self._follow(llm)
        # Outside the lock: widgets follow the settings, and take locks of their own.
        wished = set(llm.model_fields_set)
        llm.with_history = True
        for name in (*SHARED, "timeout"):
            self._from_llm(name, getattr(llm, name))
        self.settings.chosen = {name for name in SHARED if name in wished} | (self.settings.chosen & set(LIMITS))

    def settle(self) -> None:
        """Take over a value that was set to what it was: no change, but still a wish."""
        llm = self.llm()
        for name in self.settings.chosen.intersection(SHARED) - llm.model_fields_set:
            setattr(llm, name, getattr(self.settings, name))

    def asked(self) -> dict[str, Any]:
        """Return the parameters the user has set, by name."""
        llm = self.llm()
        names = [name for name in SHARED if name in llm.model_fields_set and PARAMETERS[name].recorded]
        return {name: getattr(llm, name) for name in names}

    def default(self, name: str) -> None:
        """Put a parameter back to its default; it no longer counts as set, and who follows it is told so."""
        settings, llm = self.settings, self.llm()
        value = settings.trait_defaults(name)
        setattr(settings, name, value)
        settings.chosen.discard(name)
        llm.model_fields_set.discard(name)
        settings.notify_change(Bunch(name=name, old=value, new=value, owner=settings, type="change"))

    def limits(self, name: str) -> tuple[float, float]:
        """Return the range of a sampling parameter that the server takes, as far as known."""
        from ..wire.openai import server_of

        return PARAMETERS[name].range_for(server_of(self.settings.endpoint_url))

    def let_go(self) -> None:
        """Stop following the model and close its connections."""
        with self._lock:
            if self._llm is not None:
                self._llm._own.observers.remove(self._from_llm)
                self._llm.close()
                self._llm = None

    def _follow(self, llm: ChatGLM) -> None:
        llm._own.observers.append(self._from_llm)
        self._llm = llm

    def _timeout(self) -> dict[str, float]:
        return {name: getattr(self.settings, name) for name in LIMITS}

    def _from_settings(self, change: Any) -> None:
        llm, name = self._llm, change["name"]
        if llm is None:
            return
        if name in LIMITS:
            from ..client.limits import Limits
            from ..llm.fields import limits

            if limits(llm.timeout) != Limits(**self._timeout()):
                llm.timeout = self._timeout()
        elif getattr(llm, name) != change["new"]:
            setattr(llm, name, change["new"])

    def _from_llm(self, name: str, value: Any) -> None:
        with suppress(TraitError):  # what the settings would refuse shows in the model alone
            if name == "timeout":
                from ..llm.fields import limits

                for part, seconds in asdict(limits(value)).items():
                    if getattr(self.settings, part) != seconds:
                        setattr(self.settings, part, seconds)
            elif name in SHARED and getattr(self.settings, name) != value:
                setattr(self.settings, name, value)
