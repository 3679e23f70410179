"""``python -m training.huggingface FOLDER``: the built-in model as a directory that vLLM and transformers load.

The weights are the file's own, so answers are those of the local server up to rounding; what differs between
servers is then the server. Needs ``gguf``, ``tokenizers`` and ``safetensors``, and no torch.
Source of the tensors' names and of the configuration: ``GlmForCausalLM`` of transformers.
"""

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import models

from .tokenizer import SPECIAL, untrained

MODEL = Path(__file__).parent.parent / "chatglm_magic/server/model/glm-tiny.gguf"
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def write(folder: Path, path: Path = MODEL) -> None:
    """Write weights, configuration, tokenizer and chat template into a folder, which is made if it isn't there."""
    reader = gguf.GGUFReader(path)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    config = _configuration(facts)
    save_file(_weights(reader, config), folder / "model.safetensors", {"format": "pt"})
    _write_json(folder / "config.json", config)
    _write_tokenizer(folder, facts)
    ends = config["eos_token_id"]
    # Without do_sample, as GLM's own files have it, transformers serve ignores the temperature.
    _write_json(folder / "generation_config.json", {"eos_token_id": ends, "do_sample": True})


def _configuration(facts: dict[str, Any]) -> dict[str, Any]:
    width, heads = facts["chatglm.embedding_length"], facts["chatglm.attention.head_count"]
    return {
        "architectures": ["GlmForCausalLM"],
        "model_type": "glm",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "intermediate_size": facts["chatglm.feed_forward_length"],
        "num_hidden_layers": facts["chatglm.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": facts["chatglm.attention.head_count_kv"],
        "head_dim": width // heads,
        "partial_rotary_factor": 0.5,
        "rope_theta": facts["chatglm.rope.freq_base"],
        "rms_norm_eps": facts["chatglm.attention.layer_norm_rms_epsilon"],
        "max_position_embeddings": facts["chatglm.context_length"],
        "attention_bias": True,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "eos_token_id": [facts["tokenizer.ggml.eos_token_id"], facts["tokenizer.ggml.eot_token_id"]],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float32",
    }


def _weights(reader: gguf.GGUFReader, config: dict[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    sizes = config["hidden_size"], config["num_key_value_heads"] * config["head_dim"]
    rows = np.cumsum([sizes[0], sizes[1]])  # of the fused matrix: queries, keys, values
    for tensor in reader.tensors:
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        name, _, kind = tensor.name.rpartition(".")
        if not name.startswith("blk."):
            found[f"{OUTER[name]}.{kind}"] = values
            continue
        _, number, part = name.split(".")
        layer = f"model.layers.{number}"
        if part == "attn_qkv":
            for letter, piece in zip("qkv", np.split(values, rows), strict=True):
                found[f"{layer}.self_attn.{letter}_proj.{kind}"] = np.ascontiguousarray(piece)
        else:
            found[f"{layer}.{LAYER[part]}.{kind}"] = values
    return found


def _write_tokenizer(folder: Path, facts: dict[str, Any]) -> None:
    tokens, merges = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.merges"]
    vocabulary = {token: number for number, token in enumerate(tokens) if token not in SPECIAL}
    tokenizer = untrained(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    tokenizer.add_special_tokens(list(SPECIAL))
    if tokenizer.get_vocab() != {token: number for number, token in enumerate(tokens)}:
        raise ValueError("the tokens aren't in the order of the file")
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "chat_template": facts["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": facts["chatglm.context_length"],
    }
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
