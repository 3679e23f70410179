"""Training from nothing: a fixed number of steps, one thread, everything drawn from one seed."""

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .corpus import Corpus
from .dialogue import conversation, copying
from .model import Config, TinyGLM
from .tokenizer import ANSWER, ASKED, EARLIER, GIVEN, PADDING, Chat


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    steps: int = 9000
    tokens: int = 2560  # per step, padding included
    rate: float = 3e-3
    rate_again: float = 1.5e-3  # where a trained model goes on
    warmup: int = 100
    decay: float = 0.05
    given_weight: float = 0.1  # the loss of a token that the model is given; one of the answer counts 1
    earlier_weight: float = 0.3  # and one of the answers before it
    opening: int = 3  # so many tokens at the beginning of an answer, which tell what was understood,
    opening_weight: float = 2.0  # count this much
    hidden: float = 0.08  # share of a question's tokens that are hidden, so that no single word is relied on
    copying: float = 0.06  # until this share of the steps there is only copying to learn


def batches(corpus: Corpus, chat: Chat, plan: Plan, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (ids, roles), both [B, T]; conversations of like length go together, so little is padded.

    Copying from the turn before comes first, alone, and then goes on among questions: mixed in from the start
    it did not come in 1000 steps, because learning answers by heart pays sooner.
    """
    given = 0
    while True:
        done = given / plan.steps
        pool = sorted((_draw(corpus, chat, plan, rng, done) for _ in range(384)), key=lambda x: len(x[0]))
        groups: list[list[tuple[list[int], list[int]]]] = [[]]
        for example in pool:
            if groups[-1] and len(example[0]) * (len(groups[-1]) + 1) > plan.tokens:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        given += len(groups)
        yield from map(_pad, groups)


def _draw(corpus: Corpus, chat: Chat, plan: Plan, rng: random.Random, done: float) -> tuple[list[int], list[int]]:
    """One conversation, as fits the share of the training that is done."""
    return chat.encode(*(copying if done < plan.copying else conversation)(corpus, rng))


def _pad(group: list[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor]:
    longest = max(len(ids) for ids, _ in group)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in group])
    roles = torch.tensor([roles + [PADDING] * (longest - len(roles)) for _, roles in group])
    return ids, roles


def losses(model: TinyGLM, ids: Tensor, roles: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """(loss to descend, mean loss of answer tokens), in nats; ids and roles are [B, T]."""
    shown = (roles != ASKED) | (torch.rand(roles.shape) >= plan.hidden)
    logits = model(ids[:, :-1], shown[:, :-1].float())
    target, role = ids[:, 1:], roles[:, 1:]
    each = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target)
    given = plan.given_weight
    weights = {PADDING: 0.0, GIVEN: given, ANSWER: 1.0, EARLIER: plan.earlier_weight, ASKED: given}
    weight = torch.tensor([weights[kind] for kind in sorted(weights)])[role]
    answer = role == ANSWER
    weight[answer & (answer.cumsum(1) <= plan.opening)] = plan.opening_weight
    return (each * weight).sum() / weight.sum(), each[answer].mean().detach()


def rate_at(step: int, plan: Plan) -> float:
    """Share of the full learning rate: a linear rise, then half a cosine down to 1 %."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def optimizer(model: TinyGLM, plan: Plan) -> torch.optim.AdamW:
    """AdamW; vectors (norms, biases) are not decayed."""
    params = list(model.parameters())
    groups = [
        {"params": [p for p in params if p.dim() > 1], "weight_decay": plan.decay},
        {"params": [p for p in params if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=True)


def train(
    corpus: Corpus,
    chat: Chat,
    config: Config,
    plan: Plan,
    seed: int,
    peek: Callable[[TinyGLM], None],
    weights: dict[str, Tensor] | None = None,
) -> tuple[TinyGLM, dict[str, float]]:
    """A trained model and its figures: answer loss over the last 100 steps, tokens seen, seconds.

    `peek` gets the unfinished model every 500 steps; `weights` are those to begin with, else they are random.
    """
    torch.set_num_threads(1)  # sums in one order: the same seed gives the same file on the same machine
    torch.manual_seed(seed)
    model = TinyGLM(config)
    if weights is not None:
        model.load_state_dict(weights)
    optim = optimizer(model, plan)
    feed = batches(corpus, chat, plan, random.Random(seed))
    start, seen, recent = time.monotonic(), 0, []
    for step in range(plan.steps):
        for group in optim.param_groups:
            group["lr"] = plan.rate * rate_at(step, plan)
        ids, roles = next(feed)
        loss, answer = losses(model, ids, roles, plan)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        seen += int((roles != PADDING).sum())
        recent = [*recent[-99:], float(answer)]
        if (step + 1) % 100 == 0:
            mean, seconds = sum(recent) / len(recent), time.monotonic() - start
            print(f"step {step + 1:5d}  answer loss {mean:.4f}  {seen} tokens  {seconds:.0f} s", flush=True)
        if (step + 1) % 500 == 0:
            peek(model)
    return model, {"answer_loss": sum(recent) / len(recent), "tokens": seen, "seconds": time.monotonic() - start}
