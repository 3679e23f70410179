"""The lens against the server's own sampling: what it computes is what the built-in model draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from chatglm_magic import LocalServer, lens
from chatglm_magic.lenses import Lens
from chatglm_magic.values import Candidate

from ..support.local_servers import auth_headers
from ..support.logprobs import chi_square, open_local_session, p_value
from ..support.scale import choose_count

PROMPT = "tell me a joke"
DRAWS = choose_count(500, 2000)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """The built-in model."""
    with LocalServer() as running:
        yield running


@pytest.fixture(scope="module")
def seen(server: LocalServer) -> Lens:
    """A lens on the first token of an answer."""
    return lens(PROMPT, open_local_session(server), max_token=1)


def draw(server: LocalServer, temperature: float, top_p: float) -> Counter[str]:
    """Return how often each text was drawn as the first token, each time with another seed."""
    url, with_key = f"{server.url}/chat/completions", auth_headers(server)
    asked = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1}

    def one(http: requests.Session, seed: int) -> str:
        settings = {"temperature": temperature, "top_p": top_p, "seed": seed}
        reply = http.post(url, json=asked | settings, headers=with_key, timeout=60)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["message"]["content"]).replace("\ufffd", "")

    def some(seeds: range) -> list[str]:
        with requests.Session() as http:
            return [one(http, seed) for seed in seeds]

    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(some, (range(0, DRAWS, 2), range(1, DRAWS, 2)))
        return Counter(text for half in halves for text in half)


def visible(candidate: Candidate) -> str:
    """Return what an answer of this one token shows: nothing of a part of a character."""
    return candidate.data.decode("utf-8", "ignore")


def expectation(seen: Lens, temperature: float, top_p: float) -> dict[str, float]:
    """Return how often each text should be drawn, for texts that can be."""
    position, expected = seen.at(0), dict[str, float]()
    found = position.reshape(temperature, top_p)
    for place, candidate in enumerate(position.candidates):
        if found.survives(place):
            text = visible(candidate)
            expected[text] = expected.get(text, 0.0) + found.probability(place).low * DRAWS
    return expected


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (1.5, 0.9), (4.0, 0.5)])
def test_the_server_draws_what_the_lens_says(
    server: LocalServer, seen: Lens, temperature: float, top_p: float
) -> None:
    """Of 2 000 draws with seeds of their own none is outside the survivors, and a χ² test finds no difference."""
    assert seen.complete
    position = seen.at(0)
    found = position.reshape(temperature, top_p)
    lowest, highest = found.survivors
    assert lowest == highest >= 3
    assert all(found.probability(place).is_exact for place in range(len(position.candidates)))
    expected = expectation(seen, temperature, top_p)
    assert sum(expected.values()) == pytest.approx(DRAWS)
    drawn = draw(server, temperature, top_p)
    assert sum(drawn.values()) == DRAWS
    assert set(drawn) <= set(expected)
    statistic, degrees, p = chi_square(drawn, expected)
    print(
        f"temperature {temperature}, top_p {top_p}: {lowest} survive, χ² {statistic:.1f} of {degrees}, p {p:.3f}"
    )
    assert degrees >= 2 and p > 0.001


def test_other_settings_are_told_apart(server: LocalServer, seen: Lens) -> None:
    """The control: draws at temperature 1.5 do not pass for those at 1.3, nor those of top_p 1 for top_p 0.9's."""
    drawn = draw(server, 1.5, 1.0)
    assert chi_square(drawn, expectation(seen, 1.3, 1.0))[2] < 0.001
    assert not set(drawn) <= set(expectation(seen, 1.5, 0.9))


def test_greedy_is_what_the_lens_says(server: LocalServer, seen: Lens) -> None:
    """At temperature 0 the one survivor is the token the server takes, whatever the seed."""
    found = seen.reshape(0)[0]
    assert found.survivors == (1, 1) and found.entropy == (0, 0) and found.probability(0) == (1, 1)
    said = [
        lens(PROMPT, open_local_session(server), max_token=1, temperature=0, seed=seed).text for seed in range(3)
    ]
    assert set(said) == {visible(seen.at(0).candidates[0])}


@pytest.mark.parametrize(
    ("statistic", "degrees", "p"),
    [
        (3.841459, 1, 0.05),
        (10.827566, 1, 0.001),
        (18.307038, 10, 0.05),
        (3.940299, 10, 0.95),
        (124.342113, 100, 0.05),
    ],
)
def test_the_test_of_chance_agrees_with_tables(statistic: float, degrees: int, p: float) -> None:
    """The p-values are those of printed tables."""
    assert p_value(statistic, degrees) == pytest.approx(p, rel=1e-5)
