"""The table of parameters: one row is all that the next one needs, and what the rows of today send."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest
from langchain_core.language_models.llms import LLM

from chatglm_magic import ChatGLM, LocalServer, Session
from chatglm_magic.errors import ParameterError
from chatglm_magic.llm import base
from chatglm_magic.parameters import PARAMETERS, canonical_name, parameter_names
from chatglm_magic.session.settings import SHARED_TRAITS, ChatGLMSettings

from .support.models import make_local_model, make_model, reply_with
from .support.servers import ScriptedServer

MORE = {
    "top_k": 40,
    "min_p": 0.05,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.1,
}


def test_one_row_makes_a_parameter() -> None:
    """It is in the help, the settings, completion, a sweep, the panel with its code, the turn and the request."""
    with ScriptedServer(reply_with("fine")) as server:
        command = [sys.executable, "-m", "tests.support.added_parameter", server.url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    magic, python = found.pop("code")
    assert "--typical-p 0.75" in magic and "typical_p=0.75," in python
    assert found == {
        "help": True,
        "config help": True,
        "completion": ["--typical-p"],
        "turn": [0.5, 0.5],
        "unset": False,
        "option": 0.25,
        "sweep": [0.1, 0.2, 0.3],
        "panel": ["typical_p", "Typical p", None, 0.75],
        "bodies": [
            [0.3, []],
            [None, ["typical_p: not sent, this protocol has no key for it"]],
            [None, ["typical_p: not sent, Z.ai doesn't take it"]],
        ],
        "refused": "typical_p must be a number from 0 to 1.",
    }


def test_every_field_of_the_model_has_its_row() -> None:
    """And every setting that is a field, too."""
    assert set(ChatGLM.model_fields) - set(LLM.model_fields) == set(PARAMETERS)
    assert set(SHARED_TRAITS) <= set(ChatGLMSettings.class_trait_names(config=True))
    settings, llm = ChatGLMSettings(), ChatGLM()
    differing = {name for name in SHARED_TRAITS if getattr(settings, name) != getattr(llm, name)}
    assert differing == {"with_history"}, "a session has a conversation, a model by itself has none"


def test_no_two_rows_share_a_name() -> None:
    """Neither an option, nor what the field is called elsewhere."""
    flags = [flag for row in PARAMETERS.values() for flag in row.flags]
    assert len(flags) == len(set(flags))
    others = [name for row in PARAMETERS.values() for name in {*row.wire.values(), *row.synonyms} - {row.name}]
    assert len(others) == len(set(others)) and not set(others) & set(PARAMETERS)
    assert (
        canonical_name("max_tokens") == canonical_name("max_length") == "max_token"
        and canonical_name("logit_bias") == "logit_bias"
    )


@pytest.mark.parametrize("name", MORE)
def test_a_rarer_parameter_is_sent_only_if_it_is_set(name: str) -> None:
    """By the constructor, by a call or by an assignment; None takes it back."""
    with ScriptedServer(*[reply_with("fine")] * 5) as server:
        llm = make_model(server, "openai")
        llm.invoke("unset")
        llm.invoke("for this call", **{name: MORE[name]})
        setattr(llm, name, MORE[name])
        llm.invoke("assigned")
        setattr(llm, name, None)
        llm.invoke("taken back")
        make_model(server, "openai", **{name: MORE[name]}).invoke("constructed")
        sent = [post.body.get(name) for post in server.posts]
    assert sent == [None, MORE[name], MORE[name], None, MORE[name]]


ADDRESSES = {
    "chatglm": "http://127.0.0.1:8000/",
    "openai": "http://127.0.0.1:8000/v1",
    "zai": "https://api.z.ai/api/paas/v4",
    "ollama": "http://127.0.0.1:11434/v1",
}


@pytest.mark.parametrize(
    ("server", "left_out"),
    [
        ("openai", []),
        ("chatglm", list(MORE)),
        ("zai", ["min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"]),
        ("ollama", ["top_k", "min_p", "repetition_penalty"]),
    ],
)
def test_what_a_server_cannot_take_is_left_out_and_said(server: str, left_out: list[str]) -> None:
    """And the rest is sent."""
    plan = ChatGLM(endpoint_url=ADDRESSES[server], **MORE).plan("x")
    assert {name: plan.sent[name] for name in MORE if name in plan.sent} == {
        name: value for name, value in MORE.items() if name not in left_out
    }
    assert [change.partition(":")[0] for change in plan.changed] == left_out


def test_no_cut_by_top_k_is_said_as_every_server_reads_it() -> None:
    """SGLang refuses 0, which is none to llama.cpp; -1 is none to all."""
    assert ChatGLM(endpoint_url=ADDRESSES["openai"], top_k=0).plan("x").sent["top_k"] == -1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", -1),
        ("top_k", 1.5),
        ("min_p", 1.01),
        ("min_p", -0.01),
        ("presence_penalty", 2.1),
        ("frequency_penalty", float("nan")),
        ("repetition_penalty", 0),
        ("repetition_penalty", True),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: Any) -> None:
    """With the range that holds."""
    with pytest.raises(ParameterError, match=re.escape(f"{name} must be {PARAMETERS[name].allowed}.")):
        ChatGLM(**{name: value})


def test_the_local_server_takes_all_of_them() -> None:
    """It changes none and drops none."""
    with LocalServer() as server, closing(Session()) as session:
        session.llm = make_local_model(server, "openai", **MORE, max_token=8)
        turn = session.ask("tell me a joke", record=False).turn
    assert turn.answer and turn.changed == () and {name: turn.sent[name] for name in MORE} == MORE


def test_editors_know_the_fields_that_rows_make() -> None:
    """The class that type checkers see has the same names as the one that runs."""
    tree = ast.parse(inspect.getsource(base))
    classes = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}

    def declared(name: str) -> set[str]:
        body = classes[name].body
        return {n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}

    rows = {*parameter_names("sampling", "more", "request")} - {"model_kwargs"}
    for made, expected in ((base.BodyFields, rows), (base.ChatBodyFields, rows - {"max_token"} | {"max_tokens"})):
        seen = declared("_SharedBodyFields") | declared(made.__name__)
        assert seen == set(made.model_fields) - set(LLM.model_fields) == expected
