"""How long ``%load_ext`` takes in a warm IPython, and ``%load_ext`` with the first answer, beside rivals.

``python benchmarks/load_ext.py [EXTENSION=PYTHON …]``; a rival that can't be installed beside this package
(jupyter-ai-magics 2 needs an older langchain-core) is measured in another environment's Python. Each figure
is the median of several fresh processes, measured inside them after IPython has been imported and started. Before
them one process is let go by, and leaves the compiled modules that an installation has.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

ROUNDS = 7
EXTENSIONS = ("chatglm_magic", "jupyter_ai_magics", "sql")

LOAD = """
import json, sys, threading, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("1 + 1", silent=True)
threads = threading.active_count()
began = time.perf_counter()
shell.run_line_magic("load_ext", sys.argv[1])
loaded = time.perf_counter() - began
print(json.dumps({"seconds": loaded, "threads": threading.active_count() - threads}))
"""

ANSWER = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", "chatglm_magic")
shell.run_line_magic("chatglm_serve", "")
served = time.perf_counter() - began
answer = shell.run_line_magic("chatglm", "-q -t 0 What is love?")
done = time.perf_counter() - began
shell.run_line_magic("unload_ext", "chatglm_magic")
print(json.dumps({"served": served, "seconds": done, "first": answer.turn.first_token}))
"""


def measured(code: str, *arguments: str, python: str = sys.executable) -> dict[str, float] | None:
    """Run code in a fresh process; return the JSON of its last line, or None if it failed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True, env=env
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else None


def medians(code: str, *arguments: str, python: str = sys.executable) -> dict[str, float] | None:
    """Return the median of each figure over several processes."""
    measured(code, *arguments, python=python)
    runs = [found for _ in range(ROUNDS) if (found := measured(code, *arguments, python=python))]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]} if runs else None


def main() -> None:
    """Print a line for each extension, and one for the first answer."""
    ours = None
    others = dict(argument.split("=", 1) for argument in sys.argv[1:])
    for extension in EXTENSIONS:
        found = medians(LOAD, extension, python=others.get(extension, sys.executable))
        if found is None:
            print(f"%load_ext {extension:<20} not installed")
            continue
        ours = ours or found["seconds"]
        ratio = found["seconds"] / ours
        threads = found["threads"]
        print(f"%load_ext {extension:<20} {found['seconds']:.3f} s   {ratio:5.1f} ×   threads left: {threads:.0f}")
    if found := medians(ANSWER):
        print(f"%load_ext + %chatglm_serve + first answer   {found['seconds']:.2f} s")
        print(f"  of it until the server is ready           {found['served']:.2f} s")
        print(f"  of it question to first token             {found['first']:.3f} s")


if __name__ == "__main__":
    main()
