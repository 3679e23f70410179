"""``configurable_fields`` that keeps apart what was set and what is a default."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.configurable import RunnableConfigurableFields


class Configurable(RunnableConfigurableFields):  # type: ignore[type-arg]
    """LangChain makes the configured model of all the values of the present one, so that each seems to be set.

    On ``/v1`` only what was set is sent: the copy takes that over, and its model's connections too.
    """

    def _prepare(self, config: RunnableConfig | None = None) -> tuple[Runnable[Any, str], RunnableConfig]:
        made, config = super()._prepare(config)
        origin: Any = self.default
        if isinstance(made, type(origin)) and made is not origin:
            ids = config.get("configurable", {})
            wished = {name for name, spec in self.fields.items() if spec.id in ids}
            object.__setattr__(made, "__pydantic_fields_set__", origin.model_fields_set | wished)
            made._runtime.share(origin._runtime)
            if made._credentials.origin != origin._credentials.origin:
                for secret in {"api_key", "headers"} - wished:
                    setattr(made, secret, None)  # it was given for another origin
        return made, config
