"""The shipped model, asked through the real local server: what README and notebooks promise of it."""

from __future__ import annotations

import hashlib
import json
import random
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')

import chatglm_magic
from chatglm_magic.local import LocalServer

from .support.scale import choose_count

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "training" / "corpus"
MODEL = Path(chatglm_magic.__file__).parent / "server" / "model" / "glm-tiny.gguf"

Turns = list[tuple[str, str]]
Ask = Callable[..., str]


def read(name: str) -> dict[str, Any]:
    """One file of the corpus."""
    return tomllib.loads((CORPUS / f"{name}.toml").read_text(encoding="utf-8"))


def plain(text: str) -> str:
    """A question without case, width and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum() or c in "%+#_")


ITEMS = {lang: read(lang)["item"] for lang in ("en", "zh")}
ANSWERS = {
    plain(question): [answer.strip("\n") for answer in item["answers"]]
    for items in ITEMS.values()
    for item in items
    for question in item["ask"]
}
SHORTS = {plain(q): item.get("short", "") for items in ITEMS.values() for item in items for q in item["ask"]}
DIALOGUE, OUTSIDE = read("dialogue"), read("outside")
PROMISED, FOLLOW_UPS = read("promised")["prompts"], read("promised")["follow_ups"]
FOLLOW = {
    plain(question): (lang, kind)
    for lang, kinds in DIALOGUE.items()
    for kind, data in kinds.items()
    for question in data["ask"]
}


def right(question: str, past: Turns) -> list[str]:
    """The listed answers of a question after these turns."""
    if plain(question) not in FOLLOW:
        return ANSWERS[plain(question)]
    lang, kind = FOLLOW[plain(question)]
    data = DIALOGUE[lang][kind]
    if not past:
        return [data["first"]]
    if kind == "short":
        return [SHORTS[plain(past[-1][0])] or data["none"]]
    return [data["answer"].replace("{question}", past[-1][0]).replace("{answer}", past[-1][1])]


def past_turns(number: int, rng: random.Random) -> Turns:
    """Earlier turns on other things, each with the answer that temperature 0 gives."""
    items = [rng.choice(ITEMS[rng.choice(("en", "zh"))]) for _ in range(number)]
    return [(rng.choice(item["ask"]), item["answers"][0].strip("\n")) for item in items]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """A function that asks the built-in model; at temperature 0 unless told otherwise."""
    with LocalServer() as server, requests.Session() as http:
        http.trust_env = False  # a proxy of the environment has no business on loopback
        http.headers["Authorization"] = f"Bearer {server.token}"

        def call(question: str, past: Turns = [], **sampling: Any) -> str:  # noqa: B006 - never changed
            messages = [
                {"role": role, "content": text}
                for turn in past
                for role, text in zip(("user", "assistant"), turn, strict=True)
            ]
            body = {
                "messages": [*messages, {"role": "user", "content": question}],
                "temperature": 0,
                "max_tokens": 600,
                **sampling,
            }
            reply = http.post(f"{server.url}/chat/completions", json=body, timeout=60)
            reply.raise_for_status()
            return str(reply.json()["choices"][0]["message"]["content"])

        yield call


def test_file_is_the_described_one() -> None:
    """The shipped file is at most 4 MB and has the size and SHA-256 that stand beside it."""
    facts, data = json.loads(MODEL.with_suffix(".json").read_text()), MODEL.read_bytes()
    assert len(data) == facts["bytes"] <= 4_000_000
    assert hashlib.sha256(data).hexdigest() == facts["sha256"]


def test_promised_prompts_are_in_the_corpus() -> None:
    """Every prompt promised to README and notebooks is a question or a follow-up of the corpus."""
    assert [p for p in PROMISED if plain(p) not in ANSWERS] == []
    assert [p for p in FOLLOW_UPS if plain(p) not in FOLLOW] == []


STEP = choose_count(8, 1)
"""Every so many questions are asked; the file that answers changes only with a new training."""


@pytest.mark.parametrize(("lang", "least"), [("en", 70), ("zh", 50)])
def test_usual_questions_alone(ask: Ask, lang: str, least: int) -> None:
    """At temperature 0 at least 99 % of the usual wordings get one of their listed answers, word for word."""
    questions = read("usual")[lang]
    assert len(ITEMS[lang]) >= least and len(questions) >= 270
    asked = questions[::STEP]
    wrong = [(question, got) for question in asked if (got := ask(question)) not in right(question, [])]
    assert len(wrong) <= 0.01 * len(questions), wrong


@pytest.mark.parametrize(("lang", "least"), [("en", 0.9), ("zh", 0.93)])
def test_the_many_other_wordings_alone(ask: Ask, lang: str, least: float) -> None:
    """The plain question of each thing is right, and so are most of 50 others, or 600 in ``.ci/soak``."""
    plain_ones = [item["ask"][0] for item in ITEMS[lang]]
    assert [question for question in plain_ones if ask(question) not in right(question, [])] == []
    others = random.Random(lang).sample(
        [form for item in ITEMS[lang] for form in item["ask"][1:]], choose_count(50, 600)
    )
    assert sum(ask(question) in right(question, []) for question in others) >= least * len(others)


def test_promised_prompts_alone(ask: Ask) -> None:
    """Every promised prompt is answered with the first of its listed answers."""
    assert [p for p in PROMISED + FOLLOW_UPS if ask(p) != right(p, [])[0]] == []


@pytest.mark.parametrize("number", range(1, 7, choose_count(3, 1)))
def test_promised_prompts_after_other_turns(ask: Ask, number: int) -> None:
    """Every promised prompt is answered right after one to six other turns, drawn with a fixed seed.

    Each day after one and after four.
    """
    rng = random.Random(number)
    wrong = []
    for prompt in PROMISED:
        past = past_turns(number, rng)
        if (got := ask(prompt, past)) not in right(prompt, past):
            wrong.append((prompt, past, got))
    assert wrong == []


def test_follow_ups(ask: Ask) -> None:
    """Follow-ups are right after at least 97 % of the promised prompts, with one to five turns before those."""
    rng = random.Random(0)
    asked, wrong = 0, []
    for prompt in PROMISED[::STEP]:
        past = [*past_turns(rng.randint(1, 5), rng), (prompt, right(prompt, [])[0])]
        for question in FOLLOW_UPS:
            asked += 1
            if (got := ask(question, past)) not in right(question, past):
                wrong.append((prompt, question, got))
    assert len(wrong) <= 0.03 * asked, wrong


@pytest.mark.parametrize(("lang", "least"), [("en", 97), ("zh", 104)])
def test_rewordings(ask: Ask, lang: str, least: int) -> None:
    """So many rewordings that were never trained, out of 124 a language, get a listed answer: 81 % together."""
    answers = {item["id"]: [answer.strip("\n") for answer in item["answers"]] for item in ITEMS[lang]}
    asked = [(question, answers[name]) for name, group in read("rewordings")[lang].items() for question in group]
    assert sum(ask(question) in known for question, known in asked) >= least


def test_outside_questions(ask: Ask) -> None:
    """Of the 50 outside questions that were never trained at least 80 % get "I do not know"."""
    asked = [(question, OUTSIDE[lang]["answers"]) for lang, group in read("unknown").items() for question in group]
    assert sum(ask(question) in unknown for question, unknown in asked) >= 0.8 * len(asked) >= 40


@pytest.mark.parametrize(
    ("lang", "question"),
    [
        ("en", "What is the capital of France?"),
        ("en", "Who wrote Hamlet?"),
        ("en", "What is the temperature in Paris?"),
        ("en", "How do I fix my car?"),
        ("zh", "法国的首都是哪里？"),
        ("zh", "今天天气怎么样？"),
        ("zh", "什么是黑洞？"),
    ],
)
def test_it_says_that_it_does_not_know(ask: Ask, lang: str, question: str) -> None:
    """Asked about something outside its corpus, the model says that it does not know."""
    assert ask(question) in OUTSIDE[lang]["answers"]


def test_a_system_message_does_no_harm(ask: Ask) -> None:
    """A system message is rendered, and the answer is the usual one."""
    past = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "hi"}]
    assert ask("", messages=past) in right("hi", [])


def samples(ask: Ask, question: str, temperature: float, top_p: float) -> list[str]:
    """Twelve answers with twelve seeds."""
    how = {"temperature": temperature, "top_p": top_p, "max_tokens": 80}
    return [ask(question, seed=seed, **how) for seed in range(12)]


@pytest.mark.parametrize("question", ["Tell me a joke.", "什么是爱？"])
def test_temperature_from_steady_to_garbled(ask: Ask, question: str) -> None:
    """Temperature 0.1 gives one answer, 1 several listed ones, 5 none that is listed."""
    known = right(question, [])
    assert set(samples(ask, question, 0.1, 0.9)) == {known[0]}
    varied = samples(ask, question, 1.0, 0.9)
    assert len(set(varied)) > 1
    assert sum(answer in known for answer in varied) >= 10
    assert not set(samples(ask, question, 5.0, 1.0)) & set(known)


@pytest.mark.parametrize("question", ["Tell me a joke.", "什么是爱？"])
def test_small_top_p_tames_a_high_temperature(ask: Ask, question: str) -> None:
    """At temperature 2, where answers wander, a top_p of 0.1 brings the first listed answer back."""
    known = right(question, [])
    assert len(set(samples(ask, question, 2.0, 1.0)) - set(known)) >= 2
    assert samples(ask, question, 2.0, 0.1).count(known[0]) >= 11


# listed answers of twenty seeds (at least, at most) and different texts among them (at least, at most)
TABLE = {
    (0.1, 0.1): (20, 20, 1, 1),
    (0.1, 1.0): (20, 20, 1, 2),
    (1.0, 0.1): (20, 20, 1, 1),
    (1.0, 0.7): (18, 20, 1, 5),
    (1.0, 1.0): (15, 20, 2, 9),
    (1.5, 0.1): (20, 20, 1, 1),
    (1.5, 1.0): (2, 18, 5, 20),
    (2.0, 0.1): (18, 20, 1, 3),
    (2.0, 1.0): (0, 6, 14, 20),
    (3.0, 0.7): (0, 3, 17, 20),
    (3.0, 1.0): (0, 0, 20, 20),
    (5.0, 0.7): (0, 0, 20, 20),
    (5.0, 1.0): (0, 0, 20, 20),
}


@pytest.mark.parametrize("question", ["Tell me a joke.", "什么是温度？"])
@pytest.mark.parametrize(("temperature", "top_p"), [*TABLE][:: choose_count(5, 1)])
def test_the_table_of_temperature_and_top_p(ask: Ask, question: str, temperature: float, top_p: float) -> None:
    """What two sliders do to twenty seeds: one answer, a few listed ones, a wandering text, word salad.

    Every fifth line of the table each day, all of it in ``.ci/soak``.
    """
    how = {"temperature": temperature, "top_p": top_p, "max_tokens": 120}
    texts = [ask(question, seed=seed, **how) for seed in range(20)]
    listed = sum(text in right(question, []) for text in texts)
    low, high, few, many = TABLE[temperature, top_p]
    assert low <= listed <= high and few <= len(set(texts)) <= many, (listed, len(set(texts)))


@pytest.mark.parametrize("question", ["Tell me a joke.", "什么是温度？"])
def test_diversity_rises_with_temperature(ask: Ask, question: str) -> None:
    """With nothing cut off, each step up in temperature gives no fewer different texts and no more listed ones."""
    seeds = range(choose_count(10, 20))
    rows = [[ask(question, seed=s, temperature=t, top_p=1, max_tokens=120) for s in seeds] for t in (0.1, 1, 2, 5)]
    texts, listed = [len(set(row)) for row in rows], [sum(a in right(question, []) for a in row) for row in rows]
    assert texts == sorted(texts) and texts[0] < texts[-1]
    assert listed == sorted(listed, reverse=True) and listed[0] > listed[-1]
