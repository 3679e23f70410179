"""A program: adds one row to the table of parameters, then looks for it in everything that reads the table.

Started with the address of a server that speaks both dialects; prints what it found as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from chatglm_magic import parameters as table

table.PARAMETERS["typical_p"] = table.Parameter(
    name="typical_p",
    group="more",
    type=float,
    help="locally typical sampling",
    allowed="a number from 0 to 1",
    minimum=0,
    maximum=1,
    neutral=1,
    slider=(0, 1, 0.05),
    flags=("--typical-p",),
    metavar="P",
    wire={"openai": "typical_p"},
    unsupported=frozenset({"zai"}),
)

from IPython.core.completer import provisionalcompleter  # noqa: E402 - all that follows reads the table
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from IPython.utils.capture import capture_output  # noqa: E402

from chatglm_magic import ChatGLM, errors, get_session, panel, sweep  # noqa: E402
from chatglm_magic.widgets.panel_box.code import as_magic, as_python, read_request  # noqa: E402


def run(shell: InteractiveShell, cell: str) -> str:
    """Run a cell; return what it printed."""
    with capture_output() as caught:
        assert shell.run_cell(cell).success, caught.stderr
    return str(caught.stdout)


def look(shell: InteractiveShell, url: str) -> dict[str, Any]:
    """Use the new parameter wherever a user could; return what became of it."""
    shell.run_line_magic("load_ext", "chatglm_magic")
    session = get_session()
    session.settings.endpoint_url, session.settings.store = f"{url}v1", "off"
    found: dict[str, Any] = {"help": "--typical-p P" in run(shell, "%chatglm --help")}
    found["config help"] = "locally typical sampling" in run(shell, "%chatglm_config --help")
    with provisionalcompleter():
        completions = shell.Completer.completions("%chatglm --typ", 14)
        found["completion"] = [each.text for each in completions]
    run(shell, "%config ChatGLMSettings.typical_p = 0.5")
    turn = session.ask("one").turn
    found["turn"] = [turn.asked["typical_p"], turn.sent["typical_p"]]
    run(shell, "%chatglm_config typical_p=none")
    found["unset"] = "typical_p" in session.ask("two").turn.sent
    run(shell, "%chatglm -q --typical-p 0.25 three")
    found["option"] = session.turns[-1].sent["typical_p"]
    found["sweep"] = sorted(turn.sent["typical_p"] for turn in sweep("four", typical_p="0.1:0.3:3", show=False))
    side = panel().sidebar
    row = side.sections[1]["fields"][-1]
    found["panel"] = [row["name"], row["label"], side.values[row["name"]]]
    session.settings.typical_p = 0.75
    found["panel"].append(side.values[row["name"]])
    found["code"] = [form(read_request(session, "five")) for form in (as_magic, as_python)]
    models = [ChatGLM(endpoint_url=each, typical_p=0.3) for each in (f"{url}v1", url, "https://api.z.ai/v4")]
    plans = [model.plan("six") for model in models]
    found["bodies"] = [[plan.sent.get("typical_p"), list(plan.changed)] for plan in plans]
    try:
        ChatGLM(typical_p=2)
    except errors.ParameterError as error:
        found["refused"] = str(error)
    shell.run_line_magic("unload_ext", "chatglm_magic")
    return found


if __name__ == "__main__":
    print(json.dumps(look(InteractiveShell.instance(), sys.argv[1])))
