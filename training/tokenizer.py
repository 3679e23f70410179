"""A byte-level BPE of 2048 tokens, learnt from the corpus, in the form llama.cpp calls ``chatglm-bpe``."""

import json
from functools import lru_cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .corpus import LANGUAGES, Corpus
from .dialogue import Turn

# GLM-4 appends its special tokens to the end of the vocabulary; so do we.
SPECIAL = (
    "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>",
    "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
)  # fmt: skip

# The split that llama.cpp applies for pre-tokenizer "chatglm-bpe" (tested against /tokenize on 3963 lines).
SPLIT = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PADDING, GIVEN, ANSWER, EARLIER, ASKED = range(5)  # what a token is to the training


class Chat:
    """A tokenizer that knows the chat format, which `export.TEMPLATE` renders in the same way.

    ``[gMASK]<sop>``, then each text behind its speaker's token: ``<|user|>`` and ``<|assistant|>`` for the
    present question and its answer, ``[MASK]`` and ``[sMASK]`` for the turn before, which is all of the past
    that is shown.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.special = {name: tokenizer.token_to_id(name) for name in SPECIAL}
        self.text = lru_cache(maxsize=20000)(self._text)

    def _text(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, system: str, turns: list[Turn]) -> tuple[list[int], list[int]]:
        """Ids of a conversation, and what each is to the training (the roles above).

        The last id is ``<|user|>``: the model ends its turn by writing the next speaker's token.
        Earlier answers are learnt again, except those that only make sense where they are the last.
        """
        special = self.special
        ids = [special["[gMASK]"], special["<sop>"]]
        if system:
            ids += [special["<|system|>"], *self.text(system)]
        roles = [GIVEN] * len(ids)
        for turn in turns:
            last = turn is turns[-1]
            asks, replies = ("<|user|>", "<|assistant|>") if last else ("[MASK]", "[sMASK]")
            question, answer = self.text(turn.question), self.text(turn.answer)
            role = ANSWER if last else GIVEN if turn.follows else EARLIER
            ids += [special[asks], *question, special[replies], *answer]
            roles.append(EARLIER if roles[-1] == EARLIER else GIVEN)  # it ends the answer before it
            roles += [*[ASKED if last else GIVEN] * len(question), GIVEN, *[role] * len(answer)]
        return [*ids, special["<|user|>"]], [*roles, ANSWER]


def untrained(model: models.BPE) -> Tokenizer:
    """A tokenizer round these merges that splits as llama.cpp does."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train(corpus: Corpus, size: int) -> Chat:
    """Learn the merges from the corpus then append the special tokens."""
    tokenizer = untrained(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=12,  # bytes: "temperature" with its blank, or four Chinese characters, not a clause
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(corpus), trainer)
    if tokenizer.get_vocab_size() != size - len(SPECIAL):
        raise ValueError(f"the corpus gives {tokenizer.get_vocab_size()} tokens only")
    tokenizer.add_special_tokens(list(SPECIAL))
    return Chat(tokenizer)


def _lines(corpus: Corpus) -> list[str]:
    """Every text of the corpus once, so that a frequent question gets no tokens of its own."""
    lines = [text for item in corpus.items for text in (*item.ask, *item.answers, item.short)]
    for lang in LANGUAGES:
        data = corpus.outside[lang]
        lines += data["ask"] + data["templates"] + data["topics"] + data["answers"]
        lines += [text for kind in corpus.dialogue[lang].values() for text in (*kind["ask"], kind["first"])]
    return lines


def vocabulary(chat: Chat) -> tuple[list[str], list[str]]:
    """Tokens in the order of their ids, and merges as GGUF wants them (``"a b"``)."""
    data = json.loads(chat.tokenizer.to_str())
    by_id = {number: token for token, number in chat.tokenizer.get_vocab(with_added_tokens=True).items()}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"]]
    return [by_id[number] for number in range(len(by_id))], merges
