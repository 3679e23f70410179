"""One command from nothing to a model: ``python -m training.run --seed 1 --out training/runs/1``."""

import argparse
import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from . import again, corpus, export, tokenizer
from .model import Config
from .train import Plan, train


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m training.run", description=__doc__)
    p.add_argument("--seed", type=int, default=1, help="everything random comes from it")
    p.add_argument("--out", type=Path, required=True, help="a folder for the model and its figures")
    p.add_argument("--steps", type=int, default=Plan.steps, help="training steps (default: %(default)s)")
    p.add_argument("--start", type=Path, help="a model file to go on from, at a lower rate; its tokens stay")
    return p


def main() -> None:
    """Learn the tokens, train, export, say what came out."""
    args = parser().parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    plan, config, texts = replace(Plan(), steps=args.steps), Config(), corpus.load()
    chat, weights = again.read(args.start) if args.start else (tokenizer.train(texts, config.vocab), None)
    if args.start:
        plan = replace(plan, rate=plan.rate_again, copying=0)
    print(f"{len(texts.items)} items, {config}, {plan}", flush=True)
    unfinished = args.out / "unfinished.gguf"  # to look at while the training runs
    model, figures = train(
        *(texts, chat, config, plan, args.seed),
        lambda model: export.write(model, chat, unfinished),
        weights,
    )
    path = args.out / f"{export.NAME}.gguf"
    export.write(model, chat, path)
    loss = round(figures["answer_loss"], 4)
    trained = {"seed": args.seed, "steps": plan.steps, "answer_loss": loss}
    if args.start:
        trained["start"] = hashlib.sha256(args.start.read_bytes()).hexdigest()
    facts = export.describe(path, model, trained)
    wall = round(time.monotonic() - start)
    (args.out / "figures.json").write_text(
        json.dumps({**facts, **figures, "wall_seconds": wall, "plan": asdict(plan)}, indent=2) + "\n"
    )
    print(json.dumps(facts, indent=2), f"\nwall time {wall} s")


if __name__ == "__main__":
    main()
