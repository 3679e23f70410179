"""What both ways of running have in common: from a model's name to an engine that answers."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import NoReturn

from .engine_client import EngineClient
from .engine_process import Engine, start_engine
from .models import HubModel, ModelFile, ReportProgress, display_name, download_model


class Launch:
    """One model on its way to be served."""

    def __init__(self, model: ModelFile | HubModel, engine: Engine | None, args: argparse.Namespace) -> None:
        self.client = EngineClient(display_name(model))
        self.engine = engine
        self._model, self._args = model, args

    async def ready(self, report: ReportProgress) -> float:
        """Return the seconds the loading took, once the model answers.

        Raises ModelError, EngineStartError.
        """
        if isinstance(self._model, HubModel):
            self.client.waiting_for = f"Downloading {self._model.repo}. Try again soon."
            self._model = await asyncio.to_thread(download_model, self._model, report)
            self.client.name = self._model.name
        if self.engine is None:
            self.engine = start_engine(self._model, self._args.threads, self._args.ctx)
        return await self.client.open(self.engine)

    def end(self, code: int) -> NoReturn:
        """End the engine and this process at once; a download's thread could not be waited for."""
        try:
            if self.engine is not None:
                self.engine.stop()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # nobody may read what we write any more, and that must not keep us
            os._exit(code)
