"""A model file read back, so that a training goes on from it with the tokens it has."""

from pathlib import Path

import gguf
import torch
from gguf.quants import dequantize
from tokenizers import models
from torch import Tensor

from .tokenizer import SPECIAL, Chat, untrained


def read(path: Path) -> tuple[Chat, dict[str, Tensor]]:
    """The tokenizer of a GGUF that `export.write` made, and its weights, as near as Q8_0 keeps them."""
    reader = gguf.GGUFReader(path)
    tokens, merges = (reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    vocabulary = {token: number for number, token in enumerate(tokens) if token not in SPECIAL}
    tokenizer = untrained(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.add_special_tokens(list(SPECIAL))
    weights = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).copy()) for t in reader.tensors}
    return Chat(tokenizer), weights
