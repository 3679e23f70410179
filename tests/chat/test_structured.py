"""Objects of a schema: how they are asked for, read, checked, streamed, and asked for again."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypedDict

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from chatglm_magic import GLMChatModel
from chatglm_magic.errors import InvalidResponseError, ParameterError
from chatglm_magic.wire.json_schema import cast_text, is_valid, iter_problems

from ..support.servers import Script, ScriptedServer, answer, chunk, sse
from .test_replies import collect, function, piece

METHODS = ("json_schema", "json_mode", "function_calling")


class City(BaseModel):
    """A city."""

    name: str = Field(description="its name")
    inhabitants: int = Field(ge=0)


class CityDict(TypedDict):
    """A city."""

    name: str
    inhabitants: int


SCHEMA = City.model_json_schema()
PARIS = '{"name": "Paris", "inhabitants": 2100000}'


def say(text: str, method: str, reason: str = "stop", name: str = "City") -> Script:
    """Answer with this text, as the arguments of a call where the method calls."""
    if method != "function_calling":
        events = [chunk(text[at : at + 5]) for at in range(0, len(text), 5)]
        return sse([*events, chunk(None, finish_reason=reason)])
    events = [piece(index=0, **function(None, text[at : at + 5])) for at in range(0, len(text), 5)]
    begun = piece(index=0, id="a", **function(name, ""))
    return sse([begun, *events, chunk(None, finish_reason="tool_calls" if reason == "stop" else reason)])


def model_at(server: ScriptedServer, **fields: Any) -> GLMChatModel:
    """Return a chat model of a scripted server."""
    return GLMChatModel(endpoint_url=f"{server.url}v1", max_retries=0, **fields)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [City, CityDict, SCHEMA], ids=["pydantic", "TypedDict", "JSON schema"])
def test_an_answer_is_an_object_of_the_schema(schema: Any, method: Any) -> None:
    """By each method, in a thread and as a task, asked for in the words of that method."""
    with ScriptedServer(say(PARIS, method, name=schema_name(schema))) as server:
        asking = model_at(server).with_structured_output(schema, method=method)
        found = [asking.invoke("the capital of France"), asyncio.run(asking.ainvoke("the capital of France"))]
        assert found == [City(name="Paris", inhabitants=2100000) if schema is City else json.loads(PARIS)] * 2
        body = server.posts[0].body
    if method == "function_calling":
        assert (
            body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"] == schema_name(schema)
        )
    else:
        form = body["response_format"]
        assert form["type"] == ("json_object" if method == "json_mode" else method)
        assert method == "json_mode" or form["json_schema"]["schema"]["required"] == ["name", "inhabitants"]


def schema_name(schema: Any) -> str:
    """Return what a schema is called."""
    return str(schema["title"] if isinstance(schema, dict) else schema.__name__)


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_partial_objects_are_streamed(method: Any) -> None:
    """Of a JSON schema or a TypedDict, each with more in it; the last one is whole."""
    with ScriptedServer(say(PARIS, method)) as server:
        asking = model_at(server).with_structured_output(CityDict, method=method)
        streamed = [list(asking.stream("hi")), asyncio.run(collect(asking.astream("hi")))]
    for found in streamed:
        assert len(found) > 3 and found[-1] == json.loads(PARIS) and found[0].keys() <= {"name"}


def test_partial_objects_of_a_call_are_streamed() -> None:
    """The arguments of a tool as they come."""
    with ScriptedServer(say(PARIS, "function_calling")) as server:
        asking = model_at(server).with_structured_output(SCHEMA, method="function_calling")
        found = list(asking.stream("hi"))
    assert len(found) > 3 and found[-1] == json.loads(PARIS)


WRONG = {
    "no JSON": ("Paris", "stop", "The answer isn't JSON: Paris."),
    "a list": ("[1]", "stop", "The answer isn't a JSON object"),
    "a key is missing": ('{"name": "Paris"}', "stop", "inhabitants"),
    "another type": ('{"name": "Paris", "inhabitants": "many"}', "stop", "inhabitants"),
    "out of range": ('{"name": "Paris", "inhabitants": -1}', "stop", "inhabitants"),
    "cut off": ('{"name": "Par', "length", "It was cut off: raise max_tokens."),
}


@pytest.mark.row("K7")
@pytest.mark.parametrize("schema", [City, SCHEMA], ids=["pydantic", "JSON schema"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", WRONG)
def test_an_object_that_does_not_fit_is_an_error_with_its_text(kind: str, method: Any, schema: Any) -> None:
    """Of kind ``schema``; it says what doesn't fit, and a stream ends with it too."""
    text, reason, said = WRONG[kind]
    with ScriptedServer(say(text, method, reason)) as server:
        asking = model_at(server).with_structured_output(schema, method=method)
        for ask in (asking.invoke, lambda prompt: list(asking.stream(prompt))):
            with pytest.raises(InvalidResponseError) as caught:
                ask("hi")
            assert caught.value.kind == "schema" and said in str(caught.value)
            if method != "function_calling":
                assert caught.value.partial == text


@pytest.mark.row("K7")
def test_it_is_asked_for_again_if_that_was_wished() -> None:
    """With what doesn't fit said; once more for each retry, and then the error is raised."""
    with ScriptedServer(answer("Paris"), say(PARIS, "json_schema")) as server:
        asking = model_at(server).with_structured_output(City, retries=1)
        assert asking.invoke("the capital of France").name == "Paris"
        roles = [message["role"] for message in server.posts[1].body["messages"]]
        assert (
            roles == ["user", "assistant", "user"]
            and "isn't JSON" in server.posts[1].body["messages"][2]["content"]
        )
    with ScriptedServer(answer("Paris")) as server:
        with pytest.raises(InvalidResponseError):
            asyncio.run(model_at(server).with_structured_output(City, retries=1).ainvoke("hi"))
        assert len(server.posts) == 2


@pytest.mark.row("K7")
@pytest.mark.parametrize("text", [PARIS, "Paris"], ids=["fits", "doesn't fit"])
def test_the_raw_message_is_returned_if_that_was_wished(text: str) -> None:
    """With what was parsed, or with the error in its place."""
    with ScriptedServer(answer(text)) as server:
        found = model_at(server).with_structured_output(City, include_raw=True).invoke("hi")
    assert found["raw"].text == text and (found["parsed"] is None) == (text != PARIS)
    assert (found["parsing_error"] is None) == (text == PARIS)


def test_what_is_optional_may_be_null_or_missing() -> None:
    """In a TypedDict, of which LangChain makes a schema that wants both."""

    class Place(TypedDict):
        """A place."""

        name: str
        note: str | None

    for text in ('{"name": "Paris", "note": null}', '{"name": "Paris"}'):
        with ScriptedServer(answer(text)) as server:
            assert model_at(server).with_structured_output(Place).invoke("hi")["name"] == "Paris"


@pytest.mark.parametrize("schema", [None, int, {"type": "object"}, "x"])
def test_what_is_no_schema_is_refused_in_one_line(schema: Any) -> None:
    """With what it may be."""
    with pytest.raises(ParameterError, match=r"\AThe schema can't be read[^\n]*\Z"):
        GLMChatModel().with_structured_output(schema)


def test_json_in_a_fence_is_read() -> None:
    """As models without a grammar write it."""
    with ScriptedServer(answer(f"```json\n{PARIS}\n```")) as server:
        assert (
            model_at(server).with_structured_output(CityDict, method="json_mode").invoke("hi")["name"] == "Paris"
        )


def test_an_unknown_method_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ParameterError, match="json_schema, function_calling, json_mode"):
        GLMChatModel().with_structured_output(City, method="xml")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="retries"):
        GLMChatModel().with_structured_output(City, retries=-1)


simple = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("ab", max_size=3)
values = st.recursive(
    simple, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
)
leaves = st.one_of(
    st.sampled_from(
        [True, {}, {"type": "string", "minLength": 2}, {"type": ["integer", "null"]}, {"type": "number"}]
    ),
    st.sampled_from([{"enum": [1, "a", None]}, {"const": True}, {"type": "boolean"}, {"$ref": "#/$defs/leaf"}]),
    st.sampled_from([{"type": "integer", "minimum": 0, "exclusiveMaximum": 3}, {"maxLength": 1}, {"maximum": 2}]),
)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return schemas made of schemas."""
    named = st.dictionaries(st.sampled_from("xyz"), inner, max_size=2)
    return st.one_of(
        st.builds(
            lambda names, needed, further: {
                "type": "object",
                "properties": names,
                "required": needed,
                "additionalProperties": further,
            },
            named,
            st.lists(st.sampled_from("xyz"), max_size=2, unique=True),
            st.booleans() | inner,
        ),
        st.builds(lambda item, most: {"type": "array", "items": item, "maxItems": most}, inner, st.integers(0, 3)),
        st.builds(
            lambda kind, forms: {kind: forms},
            st.sampled_from(["anyOf", "oneOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    )


schemas = st.recursive(leaves, larger, max_leaves=6)


@given(values, schemas)
def test_what_fits_is_what_fits_elsewhere(value: Any, schema: Any) -> None:
    """Compared with the ``jsonschema`` package."""
    schema = {"allOf": [schema], "$defs": {"leaf": {"type": "string"}}}
    assert is_valid(value, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_what_does_not_fit_is_named() -> None:
    """Each with where it stands."""
    schema = {"type": "object", "required": ["a"], "properties": {"b": {"items": {"type": "integer"}}}}
    assert list(iter_problems({"b": [1, "2"]}, schema)) == ["a: is missing", "b[1]: isn't an integer"]
    assert list(iter_problems([], schema)) == ["the answer isn't an object"]


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("3", {"type": "integer"}, 3),
        ("3", {"type": "string"}, "3"),
        ("True", {"type": "boolean"}, True),
        (" null ", {"type": ["integer", "null"]}, None),
        ("three", {"type": "integer"}, "three"),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ("[1, 2]", {}, [1, 2]),
        ("text", {}, "text"),
        (" red ", {"enum": ["red"]}, "red"),
        ("2", {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "2"),
    ],
)
def test_a_text_becomes_what_its_schema_wants(text: str, schema: Any, value: Any) -> None:
    """A text stays one where texts are allowed; what fits in no way is left as it is."""
    assert cast_text(text, schema) == value
