"""llama.cpp on loopback for the evaluation: one thread, one slot, and sampling in Hugging Face's order."""

import http.client
import json
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import xllamacpp

Messages = list[dict[str, str]]


class Engine:
    """The model behind an OpenAI route, as the product's server runs it but without its front."""

    def __init__(self, path: Path) -> None:
        self.key = secrets.token_hex(16)
        p = xllamacpp.CommonParams()
        p.model.path = str(path)
        p.api_keys = [self.key]
        p.ui = False
        p.n_parallel, p.n_ctx, p.verbosity = 1, 2048, -1
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
        # temperature first, and no cut by min_p: otherwise the two sliders do nothing that shows
        p.sampling.samplers = "temperature;top_k;top_p"
        p.sampling.min_p, p.sampling.top_k = 0.0, 0
        self.server = xllamacpp.Server(p)
        self.address = urlsplit(self.server.listening_address)
        while not self._healthy():
            time.sleep(0.02)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port)
        connection.request("GET", "/health", headers={"Connection": "close"})
        return connection.getresponse().status == 200

    def chat(self, messages: Messages, **sampling: Any) -> str:
        """The answer's text; at temperature 0 unless told otherwise."""
        body = {"messages": messages, "temperature": 0, "max_tokens": 600, **sampling}
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.key}", "Connection": "close"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = json.loads(connection.getresponse().read())
        return str(reply["choices"][0]["message"]["content"])
