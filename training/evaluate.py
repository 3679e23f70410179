"""What an exported model really answers: ``python -m training.evaluate training/runs/1/glm-tiny.gguf``."""

import argparse
import json
import random
from pathlib import Path

from . import corpus
from .corpus import Corpus, Item
from .dialogue import Turn, nonsense
from .engine import Engine
from .judge import Judge, past_turns

TEMPERATURES, TOP_PS = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0), (0.1, 0.5, 0.7, 0.9, 1.0)


def held_out(texts: Corpus, rng: random.Random) -> dict[str, list[tuple[str, str]]]:
    """Questions from outside the corpus, none of them trained, by kind."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for lang in corpus.LANGUAGES:
        data = texts.outside[lang]
        groups[f"outside {lang}, hand-written"] = [(lang, q) for q in data["held_ask"]]
        for kind in ("templates", "held_templates"):
            forms = [t for t in data[kind] if "{n}" not in t]
            asked = [t.replace("{x}", x) for x in data["held_topics"] for t in rng.sample(forms, 4)]
            groups[f"outside {lang}, new topics, {kind}"] = [(lang, q) for q in asked]
        forms = [t for t in data["templates"] if "{n}" not in t]
        asked = [rng.choice(forms).replace("{x}", nonsense(rng)) for _ in range(40)]
        groups[f"outside {lang}, nonsense words"] = [(lang, q) for q in asked]
    return groups


def _turn(item: Item | None, question: str) -> Turn:
    """A question of the corpus with the answer it gets at temperature 0."""
    if item is None:
        raise ValueError(f"{question!r} is not in the corpus")
    return Turn(question, item.answers[0], item.short)


def sliders(judge: Judge, question: str, samples: int = 20) -> dict[str, str]:
    """For each temperature and top_p: listed answers out of `samples`, and how many different texts."""
    right, table = judge.right_answers(question, []), {}
    print(f"\n{question}: listed answers of {samples} (different texts)")
    print("top_p \\ T " + "".join(f"{t:>9}" for t in TEMPERATURES))
    for top_p in TOP_PS:
        row = []
        for temperature in TEMPERATURES:
            ask = [{"role": "user", "content": question}]
            how = {"temperature": temperature, "top_p": top_p, "max_tokens": 120}
            texts = [judge.engine.chat(ask, seed=seed, **how) for seed in range(samples)]
            row.append(f"{sum(t in right for t in texts)} ({len(set(texts))})")
            table[f"{temperature}/{top_p}"] = row[-1]
        print(f"{top_p:<10}" + "".join(f"{cell:>9}" for cell in row), flush=True)
    return table


def never_trained(judge: Judge, rng: random.Random) -> dict[str, object]:
    """Rewordings and outside questions that were kept for measuring."""
    texts = judge.texts
    figures: dict[str, object] = {}
    for lang in corpus.LANGUAGES:
        for name, held in (("rewordings", texts.rewordings), ("near rewordings", texts.held)):
            figures[f"{lang} {name}"] = judge.rewordings(f"{lang} {name}, never trained", lang, held[lang])
        asked = [(lang, q) for q in texts.unknown[lang]]
        figures[f"{lang} unknown"] = judge.unknown(f"{lang} unknown, never trained", asked)
    for name, questions in held_out(texts, rng).items():
        figures[name] = judge.unknown(name, questions)
    later = [(lang, q) for lang in corpus.LANGUAGES for q in texts.outside[lang]["held_ask"] for _ in range(3)]
    figures["outside after 1-6"] = judge.unknown("outside, hand-written, after 1-6", later, rng)
    return figures


def wordings(judge: Judge, rng: random.Random, most: int = 600) -> dict[str, object]:
    """Wordings that were trained: all of them alone, and after other turns as many as there is time for."""
    texts = judge.texts
    figures: dict[str, object] = {}
    for lang in corpus.LANGUAGES:
        forms = [q for i in texts.items if i.lang == lang for q in i.ask]
        figures[f"{lang} alone"] = judge.group(f"{lang} alone", ((q, []) for q in forms))
        framed = rng.sample([q for i in texts.items if i.lang == lang for q in i.framed], most)
        figures[f"{lang} framed"] = judge.group(f"{lang} in frames", ((q, []) for q in framed))
        later = ((q, past_turns(texts, rng.randint(1, 6), rng)) for q in rng.sample(forms, most))
        figures[f"{lang} after 1-6"] = judge.group(f"{lang} after 1-6 turns", later)
    pairs = rng.sample([(item, form) for item in texts.items for form in item.ask], most)
    for question in texts.follow_ups:
        later = ((question, [_turn(item, form)]) for item, form in pairs)
        figures[question] = judge.group(f"{question} after wordings", later)
    trained = [(lang, q) for lang in corpus.LANGUAGES for q in texts.outside[lang]["ask"]]
    figures["outside, trained"] = judge.unknown("outside, trained", trained)
    return figures


def evaluate(judge: Judge, rng: random.Random) -> dict[str, object]:
    """All groups."""
    texts, figures = judge.texts, never_trained(judge, rng)
    figures["promised alone"] = judge.group("promised alone", ((q, []) for q in texts.promised))
    for number in range(1, 7):
        later = ((q, past_turns(texts, number, rng)) for q in texts.promised for _ in range(5))
        figures[f"promised after {number}"] = judge.group(f"promised after {number}", later)
    pairs = ((q, [_turn(texts.find(p), p)]) for q in texts.promised for p in texts.promised)
    figures["promised after promised"] = judge.group("promised after each promised", pairs)
    later = ((q, past_turns(texts, rng.randint(1, 6), rng)) for q in texts.follow_ups for _ in range(50))
    figures["follow-ups after 1-6"] = judge.group("follow-ups after 1-6", later)
    figures["follow-ups alone"] = judge.group("follow-ups alone", ((q, []) for q in texts.follow_ups))
    around = ((q, [_turn(texts.find(p), p)]) for q in texts.follow_ups for p in texts.promised)
    figures["follow-ups after promised"] = judge.group("follow-ups after promised prompts", around)
    figures |= wordings(judge, rng)
    figures["sliders"] = {q: sliders(judge, q) for q in ("Tell me a joke.", "What is love?", "什么是温度？")}
    return figures


def main() -> None:
    """Evaluate one file; figures and wrong answers go beside it."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--measured", action="store_true", help="only what was kept for measuring; nothing is written"
    )
    args = parser.parse_args()
    path, judge = args.model, Judge(corpus.load(), Engine(args.model))
    if args.measured:
        never_trained(judge, random.Random(0))
        return
    figures = evaluate(judge, random.Random(0))
    asked = judge.texts.promised + judge.texts.follow_ups
    answers = {q: judge.engine.chat([{"role": "user", "content": q}]) for q in asked}
    save = {"figures": figures, "wrong": judge.wrong, "promised answers": answers}
    out = path.with_name("evaluation.json")
    out.write_text(json.dumps(save, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{len(judge.wrong)} wrong answers are listed in {out.name}")


if __name__ == "__main__":
    main()
