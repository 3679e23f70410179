"""``python -m chatglm_magic "PROMPT"``: send one prompt to the built-in model from a terminal."""

from __future__ import annotations

import argparse
import sys

from .errors import ChatGLMError
from .local import LocalServer
from .render.views import TerminalView
from .session import Session
from .values import Answer


def main(arguments: list[str] | None = None) -> int:
    """Start the local server, stream one answer to the terminal, stop the server; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m chatglm_magic",
        description="Send one prompt to the built-in model or to a GGUF file.",
    )
    parser.add_argument("prompt", metavar="PROMPT", nargs="+")
    parser.add_argument("-t", "--temperature", type=float, default=0.0, metavar="T", help="0 (default) to 10")
    parser.add_argument("-p", "--top-p", type=float, default=None, metavar="P", help="0 to 1")
    parser.add_argument("--model", metavar="FILE", help="a GGUF file instead of the built-in model")
    options = parser.parse_args(arguments)
    try:
        with LocalServer(options.model) as server:
            _ask(server, " ".join(options.prompt), options.temperature, options.top_p)
    except ChatGLMError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _ask(server: LocalServer, prompt: str, temperature: float, top_p: float | None) -> Answer:
    from .llm import ChatGLM

    session = Session()
    session.llm = ChatGLM(endpoint_url=server.url, api_key=server.token, temperature=temperature, top_p=top_p)
    return session.ask(prompt, view=TerminalView(with_footer=True))


if __name__ == "__main__":
    sys.exit(main())
