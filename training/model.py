"""The ChatGLM architecture as llama.cpp's ``chatglm`` computes it, small enough for one CPU core.

Source of the conventions: the ``chatglm`` graph of llama.cpp (RMSNorm, fused QKV with bias, RoPE on the
first half of each head in adjacent pairs, grouped key/value heads, SwiGLU with the gate first).
Shapes in the comments: B conversations, T tokens, E width, H heads, D head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Config:
    """Sizes of the network; the defaults are the shipped model's."""

    vocab: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    ff: int = 384
    context: int = 2048  # tokens; also the cap llama.cpp puts on a slot
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    @property
    def rot(self) -> int:
        """How many of a head's dimensions RoPE turns: the first half."""
        return self.head // 2


def rope_table(config: Config) -> Tensor:
    """Cosines and sines for every position: [2, context, rot/2]."""
    frequency = config.rope_base ** (-torch.arange(0, config.rot, 2).float() / config.rot)
    angle = torch.arange(config.context).float()[:, None] * frequency[None, :]
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the first half of each head; x is [B, H, T, D], table [2, T, rot/2]."""
    cos, sin = table[0], table[1]
    turned, passed = x.split(x.shape[-1] // 2, dim=-1)
    even, odd = turned[..., 0::2], turned[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([turned, passed], dim=-1)


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind an RMSNorm and added to its input."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.config = c
        self.attn_norm = nn.RMSNorm(c.width, eps=c.eps)
        self.attn_qkv = nn.Linear(c.width, c.width + 2 * c.kv_heads * c.head, bias=True)
        self.attn_output = nn.Linear(c.width, c.width, bias=False)
        self.ffn_norm = nn.RMSNorm(c.width, eps=c.eps)
        self.ffn_up = nn.Linear(c.width, 2 * c.ff, bias=False)  # first half: gate, second half: up
        self.ffn_down = nn.Linear(c.ff, c.width, bias=False)

    def attend(self, x: Tensor, table: Tensor) -> Tensor:
        """Causal self-attention, [B, T, E] to [B, T, E]; query head h reads kv head h // (H / kv)."""
        c, (b, t, _) = self.config, x.shape
        q, k, v = self.attn_qkv(x).split([c.width, c.kv_heads * c.head, c.kv_heads * c.head], dim=-1)
        q = rotate(q.view(b, t, c.heads, c.head).transpose(1, 2), table)
        k = rotate(k.view(b, t, c.kv_heads, c.head).transpose(1, 2), table)
        v = v.view(b, t, c.kv_heads, c.head).transpose(1, 2)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.attn_output(out.transpose(1, 2).reshape(b, t, c.width))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """[B, T, E] to [B, T, E]."""
        x = x + self.attend(self.attn_norm(x), table)
        gate, up = self.ffn_up(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.ffn_down(F.silu(gate) * up)


class TinyGLM(nn.Module):
    """Token ids [B, T] to logits [B, T, vocab]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocab, config.width)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.output_norm = nn.RMSNorm(config.width, eps=config.eps)
        self.output = nn.Linear(config.width, config.vocab, bias=False)
        self.register_buffer("table", rope_table(config), persistent=False)
        self.apply(self._init)
        for block in self.blk:  # keep the residual stream's size independent of the depth
            for layer in (block.attn_output, block.ffn_down):
                nn.init.normal_(layer.weight, std=0.05 / (2 * config.layers) ** 0.5)

        self._start_copying()

    @torch.no_grad()
    def _start_copying(self) -> None:
        """Begin with both halves of an induction head, which so short a training does not find by itself.

        Head 0 of layer 0 looks one token back and notes what it saw; head 0 of layer 1 looks for places whose
        note is the present token, that is, for what came after it before. Training goes on from there.
        """
        c, free = self.config, self.config.head - self.config.rot
        key, value = c.width, c.width + c.kv_heads * c.head  # rows of attn_qkv where these begin
        basis = torch.linalg.qr(torch.randn(c.width, 4 * free)).Q  # [E, 4 * free], orthonormal columns
        seen, note, found = basis[:, :free], basis[:, free : 2 * free], basis[:, 2 * free :]
        first, second = self.blk[0], self.blk[1]
        for pair in range(3):  # the fast frequencies: their sum of cosines peaks at a distance of one
            turn, size = torch.tensor(c.rope_base ** (-2 * pair / c.rot)), 6.6
            first.attn_qkv.bias[2 * pair] = size * turn.cos()
            first.attn_qkv.bias[2 * pair + 1] = -size * turn.sin()
            first.attn_qkv.bias[key + 2 * pair] = size
        first.attn_qkv.weight[value : value + free] = seen.T
        first.attn_output.weight[:, :free] = 0.15 * note
        second.attn_qkv.weight[c.rot : c.head] = 2.0 * seen.T  # the half that RoPE leaves alone
        second.attn_qkv.weight[key + c.rot : key + c.head] = 2.0 * note.T
        second.attn_qkv.weight[value : value + 2 * free] = found.T
        second.attn_output.weight[:, : 2 * free] = 0.1 * found

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, shown: Tensor | None = None) -> Tensor:
        """[B, T] to [B, T, vocab]; padding on the right is harmless, attention looks left only.

        shown: [B, T], 0 where the training hides a token, else 1.
        """
        x = self.token_embd(ids)
        if shown is not None:
            x = x * shown[..., None]
        table = self.table[:, : ids.shape[1]]
        for block in self.blk:
            x = block(x, table)
        return self.output(self.output_norm(x))

    def parameters_count(self) -> int:
        """Number of trained weights."""
        return sum(p.numel() for p in self.parameters())
