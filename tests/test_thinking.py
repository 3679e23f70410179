"""How much a model thinks: each level by family and server, as it is sent and as a chat template reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import jinja2
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from chatglm_magic import ChatGLM, Session
from chatglm_magic.parameters import THINKING_LEVELS
from chatglm_magic.widgets import panel
from chatglm_magic.wire.thinking import family_of, levels_of

from .support.panels import choose
from .support.servers import Asked, ScriptedServer, answer, reply

ADDRESSES = {
    "self-hosted": "http://vllm.invalid/v1",
    "Z.ai": "https://api.z.ai/api/paas/v4",
    "BigModel": "https://open.bigmodel.cn/api/paas/v4",
    "Ollama": "http://127.0.0.1:11434/v1",
    "DashScope": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "SiliconFlow": "https://api.siliconflow.cn/v1",
    "OpenRouter": "https://openrouter.ai/api/v1",
}
REGIONS = ("https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1", "https://www.openrouter.ai/api/v1")
KEYS = ("thinking", "reasoning_effort", "chat_template_kwargs", "enable_thinking", "reasoning")


def switch(on: bool, effort: str | None = None, *, top: bool = True) -> dict[str, Any]:
    """Return the keys for a chat template; the effort also stands beside them."""
    inner = {"enable_thinking": on} | ({"reasoning_effort": effort} if effort else {})
    return {"chat_template_kwargs": inner} | ({"reasoning_effort": effort} if effort and top else {})


ON, OFF = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}
LOW, HIGH, MAX = ({"reasoning_effort": effort} for effort in ("low", "high", "max"))
OLD, NEW = "GLM-4.7 has on and off", "GLM-5.2 has high and max"
ALWAYS = "GLM-5.3 always thinks"
TRUE, FALSE = {"enable_thinking": True}, {"enable_thinking": False}
ENABLED, DISABLED = {"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}
BARE = {"chat_template_kwargs": {"enable_thinking": True}}

TABLE: dict[tuple[str, str | None], list[tuple[Any, str]]] = {
    ("self-hosted", "glm-4.7"): [
        (switch(False), ""),
        (switch(True), ""),
        *((switch(True), f"{level} sent as on: {OLD}") for level in ("low", "high", "max")),
    ],
    ("self-hosted", "glm-5.2"): [
        (switch(False), ""),
        (switch(True), ""),
        (switch(True, "high"), f"low sent as high: {NEW}"),
        (switch(True, "high"), ""),
        (switch(True, "max"), ""),
    ],
    ("self-hosted", "glm-5.3"): [
        (switch(True, "low"), f"off sent as low: {ALWAYS}"),
        (switch(True), ""),
        (switch(True, "low"), ""),
        (switch(True, "high"), ""),
        (switch(True, "max"), ""),
    ],
    ("self-hosted", None): [
        (switch(False), ""),
        (BARE, ""),
        (BARE | LOW, ""),
        (BARE | HIGH, ""),
        (BARE | MAX, ""),
    ],
    ("Z.ai", "glm-4.7"): [
        (OFF, ""),
        (ON, ""),
        *((ON, f"{level} sent as on: {OLD}") for level in ("low", "high", "max")),
    ],
    ("Z.ai", "glm-5.2"): [
        (OFF, ""),
        (ON, ""),
        (ON | HIGH, f"low sent as high: {NEW}"),
        (ON | HIGH, ""),
        (ON | MAX, ""),
    ],
    ("Z.ai", "glm-5.3"): [(LOW, f"off sent as low: {ALWAYS}"), (ON, ""), (LOW, ""), (HIGH, ""), (MAX, "")],
    ("Z.ai", None): [(OFF, ""), (ON, ""), (ON | LOW, ""), (ON | HIGH, ""), (ON | MAX, "")],
    ("Ollama", "glm-4.7"): [
        ({"reasoning_effort": "none"}, ""),
        ({}, ""),
        *(({}, f"{level} sent as on: {OLD}") for level in ("low", "high", "max")),
    ],
    ("Ollama", "glm-5.2"): [
        ({"reasoning_effort": "none"}, ""),
        ({}, ""),
        (HIGH, f"low sent as high: {NEW}"),
        (HIGH, ""),
        (HIGH, "max sent as high: Ollama has high"),
    ],
    ("Ollama", "glm-5.3"): [
        (LOW, f"off sent as low: {ALWAYS}"),
        ({}, ""),
        (LOW, ""),
        (HIGH, ""),
        (HIGH, "max sent as high: Ollama has low and high"),
    ],
    ("DashScope", "glm-4.7"): [
        (FALSE, ""),
        (TRUE, ""),
        *((TRUE, f"{level} sent as on: {OLD}") for level in ("low", "high", "max")),
    ],
    ("DashScope", "glm-5.2"): [
        (FALSE, ""),
        (TRUE, ""),
        *((TRUE, f"{level} sent as on: DashScope has on and off") for level in ("low", "high", "max")),
    ],
    ("SiliconFlow", "zai-org/GLM-5.3"): [
        (TRUE, f"off sent as on: {ALWAYS}"),
        (TRUE, ""),
        *((TRUE, f"{level} sent as on: SiliconFlow has on") for level in ("low", "high", "max")),
    ],
    ("OpenRouter", "z-ai/glm-4.7"): [
        (DISABLED, ""),
        (ENABLED, ""),
        *((ENABLED, f"{level} sent as on: {OLD}") for level in ("low", "high", "max")),
    ],
    ("OpenRouter", "z-ai/glm-5.3"): [
        ({"reasoning": {"effort": "low"}}, f"off sent as low: {ALWAYS}"),
        (ENABLED, ""),
        ({"reasoning": {"effort": "low"}}, ""),
        ({"reasoning": {"effort": "high"}}, ""),
        ({"reasoning": {"effort": "high"}}, "max sent as high: OpenRouter has low and high"),
    ],
}
TABLE[("BigModel", "glm-5.3")] = TABLE[("Z.ai", "glm-5.3")]


@pytest.mark.parametrize("level", THINKING_LEVELS)
@pytest.mark.parametrize(("server", "model"), TABLE)
def test_each_level_is_sent_as_model_and_server_have_it(server: str, model: str | None, level: str) -> None:
    """In the server's words; a level that the model or the server hasn't got as the nearest, and that is said."""
    keys, why = TABLE[server, model][THINKING_LEVELS.index(level)]
    plan = ChatGLM(endpoint_url=ADDRESSES[server], model=model, thinking=level).plan("hi")
    assert {key: plan.request.body[key] for key in KEYS if key in plan.request.body} == keys
    assert [str(change) for change in plan.changed] == ([f"thinking={why}"] if why else [])
    assert all(change.name == "thinking" for change in plan.changed)


@pytest.mark.parametrize("model", [None, "glm-4.7", "glm-5.2", "glm-5.3"])
@pytest.mark.parametrize("server", ADDRESSES)
def test_no_level_is_changed_in_silence(server: str, model: str | None) -> None:
    """Two levels that are sent alike differ in what is said; on is the model's own."""
    said = set()
    for level in THINKING_LEVELS:
        plan = ChatGLM(endpoint_url=ADDRESSES[server], model=model, thinking=level).plan("hi")
        said.add((str({key: plan.request.body.get(key) for key in KEYS}), plan.changed))
    assert len(said) == len(THINKING_LEVELS)
    unset = ChatGLM(endpoint_url=ADDRESSES[server], model=model).plan("hi")
    assert not set(KEYS) & set(unset.request.body) and unset.changed == ()


@pytest.mark.parametrize("address", REGIONS)
def test_another_region_of_a_server_is_that_server(address: str) -> None:
    """A subdomain of a known host; not a host that only ends alike."""
    assert "chat_template_kwargs" not in ChatGLM(endpoint_url=address, thinking="on").plan("hi").request.body
    alike = address.replace(".dashscope", "-dashscope").replace("www.", "my")
    assert "chat_template_kwargs" in ChatGLM(endpoint_url=alike, thinking="on").plan("hi").request.body


NAMES = {
    "GLM-4.5": [
        "glm-4.5",
        "GLM-4.5-Air",
        "zai-org/GLM-4.5-FP8",
        "z-ai/glm-4.5:free",
        "glm-4.5v",
        "models/GLM-4.5/",
    ],
    "GLM-4.6": ["GLM-4.6.gguf", "glm-4.6.Q4_K_M.gguf", "hub/models--zai-org--GLM-4.6/snapshots/ab12"],
    "GLM-4.7": ["glm-4.7-flash", "GLM-4.7-FP8", "unsloth/GLM-4.7-GGUF:Q4_K_M"],
    "GLM-5": ["glm-5", "zai-org/GLM-5-FP8", "glm5"],
    "GLM-5.1": ["glm-5.1-fp8"],
    "GLM-5.2": ["zai-org/GLM-5.2", "glm-5.2-awq-int4"],
    "GLM-5.3": ["glm-5.3-flash", "/data/models/GLM-5.3-Flash-Q4_K_M.gguf", "pro/glm-5.3"],
}


@pytest.mark.parametrize(("title", "name"), [(title, name) for title, names in NAMES.items() for name in names])
def test_a_family_is_told_by_the_served_name(title: str, name: str) -> None:
    """Quantised, prefixed and local names too."""
    family = family_of(name)
    assert family is not None and family.title == title


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "glm-4-9b-chat",
        "chatglm3-6b",
        "glm-10",
        "glm-4.15",
        "glm-5.20",
        "glm-4v-plus",
        "GLM-Z1-9B",
        "qwen3-5.2",
        "my-model",
    ],
)
def test_another_name_has_no_family(name: str | None) -> None:
    """What isn't known is sent as it is asked for."""
    assert family_of(name) is None and levels_of(name, None) == THINKING_LEVELS


def test_the_levels_of_a_model_are_those_that_are_sent_as_they_are() -> None:
    """For lists and help."""
    assert levels_of("glm-4.7", None) == ("off", "on")
    assert levels_of("glm-5.2", None) == ("off", "on", "high", "max")
    assert levels_of("glm-5.3", "zai") == ("on", "low", "high", "max")
    assert levels_of("glm-5.3", "ollama") == ("on", "low", "high")
    assert levels_of(None, "dashscope") == ("off", "on")


TEMPLATES = {
    "glm-4.5": "{% if enable_thinking is defined and not enable_thinking %}off{% else %}on{% endif %}",
    "glm-4.7": "{{ 'off' if enable_thinking is defined and not enable_thinking else 'on' }}",
    "glm-5.2": (
        "{% if enable_thinking is defined and not enable_thinking %}off"
        "{% elif reasoning_effort is defined and reasoning_effort == 'high' %}high{% else %}max{% endif %}"
    ),
    "glm-5.3": "{{ reasoning_effort if reasoning_effort in ('low', 'high') else 'max' }}",
}
"""What the models' own chat templates make of the two variables: which level the model is told."""


def told_by_template(body: dict[str, Any]) -> str:
    """Render a body as vLLM and SGLang do: the effort beside the switches is a variable of the template too."""
    variables = body.get("chat_template_kwargs", {})
    if "reasoning_effort" in body:
        variables = {"reasoning_effort": body["reasoning_effort"]} | variables
    return jinja2.Template(TEMPLATES[body["model"]], undefined=jinja2.ChainableUndefined).render(**variables)


def told_by_zai(body: dict[str, Any]) -> str:
    """Return the level that Z.ai's models get."""
    if body.get("thinking", {}).get("type") == "disabled":
        return "off"
    if body["model"] in ("glm-4.5", "glm-4.7"):
        return "on"
    effort = body.get("reasoning_effort", "max")
    return str(effort if effort == "high" or (effort == "low" and body["model"] == "glm-5.3") else "max")


WANTED = {
    "glm-4.5": ("off", "on", "on", "on", "on"),
    "glm-4.7": ("off", "on", "on", "on", "on"),
    "glm-5.2": ("off", "max", "high", "high", "max"),
    "glm-5.3": ("low", "max", "low", "high", "max"),
}
"""What each model is told for off, on, low, high and max; on is as much as it thinks by itself."""


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("server", ["self-hosted", "Z.ai"])
@pytest.mark.parametrize("level", THINKING_LEVELS)
@pytest.mark.parametrize("model", TEMPLATES)
def test_a_template_is_told_what_the_change_says(
    model: str, level: str, server: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real templates' logic behind a server that answers what it was told; Z.ai refuses what GLM-5.3 can't."""

    def script(connection: Any, asked: Asked) -> None:
        told = (told_by_zai if server == "Z.ai" else told_by_template)(asked.body)
        if told == "off" and model == "glm-5.3":
            reply({"error": {"code": "1210", "message": "always thinks"}}, status=400)(connection, asked)
        else:
            answer(told)(connection, asked)

    with ScriptedServer(script) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        address = ADDRESSES[server].replace("https:", "http:")
        llm = ChatGLM(endpoint_url=address, model=model, thinking=level)
        told = llm.invoke("hi") if way == "invoke" else asyncio.run(llm.ainvoke("hi"))
    assert told == WANTED[model][THINKING_LEVELS.index(level)]
    assert bool(llm.plan("hi").changed) == (level not in ("on", told))


def test_the_panels_list_has_the_models_levels() -> None:
    """It follows model and server; a level that is set stays in it, and says that it isn't the model's."""
    session = Session()
    session.settings.endpoint_url, session.settings.store = "http://127.0.0.1:1/v1", "off"
    shown = panel(session)

    def listed() -> list[str]:
        return [value for value, _ in shown.sidebar.options["thinking"]]

    def chosen() -> str:
        return str(shown.sidebar.values["thinking"])

    assert listed() == ["", *THINKING_LEVELS]
    session.settings.model = "glm-5.2"
    assert listed() == ["", "off", "on", "high", "max"]
    choose(shown, "thinking", "max")
    assert session.llm.thinking == "max"
    session.settings.model = "glm-4.7"
    assert listed() == ["", "off", "on", "max"] and chosen() == "max"
    assert ["max", "max (not this model's)"] in shown.sidebar.options["thinking"] and session.llm.thinking == "max"
    session.settings.model, session.settings.thinking = "glm-5.2", "low"
    assert chosen() == "low" and listed() == ["", "off", "on", "low", "high", "max"]
    session.settings.model, session.settings.thinking = "glm-4.7", None
    assert listed() == ["", "off", "on"] and chosen() == ""
    session.settings.model = None
    session.settings.endpoint_url = ADDRESSES["OpenRouter"]
    assert listed() == ["", "off", "on", "low", "high"]
    shown.close()
    session.close()


def test_completion_and_help_have_the_models_levels(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind ``--thinking``, and at the end of the help of what takes it, where the model lacks some."""
    line = "%chatglm --thinking "

    def completed() -> list[str]:
        found = shell.Completer.completions(line, len(line))
        return sorted({completion.text for completion in found} & set(THINKING_LEVELS))

    with provisionalcompleter():
        assert completed() == sorted(THINKING_LEVELS)
        shell.run_line_magic("chatglm", "--help")
        assert "Thinking levels" not in capsys.readouterr().out
        shell.run_line_magic("chatglm_config", "model=glm-5.3 endpoint_url=http://127.0.0.1:1/v1")
        assert completed() == sorted(["on", "low", "high", "max"])
        for magic in ("chatglm", "chatglm_lens", "chatglm_sweep"):
            capsys.readouterr()
            shell.run_line_magic(magic, "--help")
            assert "Thinking levels of the current model: on, low, high, max\n" in capsys.readouterr().out
