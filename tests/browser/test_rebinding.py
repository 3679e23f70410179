"""DNS rebinding in a real browser: a page whose name comes to mean this machine reads nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from ..support.servers import ScriptedServer, legacy, reply

pytestmark = pytest.mark.heavy

NAME = "rebound.example"
ATTACK = """<!doctype html><title>attack</title><script>
async function ask(path, options) {
  try { const got = await fetch(path, options); return [got.status, (await got.text()).slice(0, 200)]; }
  catch (error) { return [0, String(error)]; }
}
const post = {method: "POST", headers: {"Content-Type": "application/json"},
              body: JSON.stringify({prompt: "hi", messages: [{role: "user", content: "hi"}], max_tokens: 2})};
Promise.all([ask("/health"), ask("/v1/models"), ask("/", post), ask("/v1/chat/completions", post)])
  .then(found => { window.found = found; });
</script>"""

ATTACKER = """
import json, sys
from tests.support.lab import browser
name, attack, ports = json.loads(sys.argv[1])
found = []
flags = f"--host-resolver-rules=MAP {name} 127.0.0.1", "--disable-features=LocalNetworkAccessChecks"
with browser(*flags) as started:
    for port in ports:
        page = started.new_page()
        page.route("**/attack", lambda route: route.fulfill(body=attack, content_type="text/html"))
        page.goto(f"http://{name}:{port}/attack")
        page.wait_for_function("window.found")
        found.append(page.evaluate("window.found"))
print(json.dumps(found))
"""
"""In a process of its own: Playwright has one browser a process in its blocking form. Chromium's own guard of the
local network is switched off, as in browsers that have none."""


def attack(*ports: int) -> list[list[Any]]:
    """Open a page of the foreign name on each port, then let the name mean this machine; return what it read."""
    order = json.dumps([NAME, ATTACK, ports])
    done = subprocess.run([sys.executable, "-c", ATTACKER, order], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = json.loads(done.stdout)
    return found


@pytest.mark.row("S26")
def test_a_rebound_name_reads_nothing_of_the_local_server(chromium: object) -> None:
    """Every route answers 403 to it; a server that does not look at names (the control) is read."""
    from chatglm_magic import LocalServer

    with LocalServer() as server, ScriptedServer(legacy("secret"), on_get=reply({"data": "secret"})) as control:
        port = int(server.base_url.rstrip("/").rpartition(":")[2])
        ours, others = attack(port, control.port)
    assert [status for status, _ in others] == [200] * 4 and all("secret" in text for _, text in others)
    assert [status for status, _ in ours] == [403] * 4
    assert all("is not served here" in text for _, text in ours)
