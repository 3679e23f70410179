"""From the trained weights to one Q8_0 GGUF file and the JSON beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
from gguf.constants import GGMLQuantizationType as Kind
from gguf.quants import quantize

from .model import TinyGLM
from .tokenizer import SPECIAL, Chat, vocabulary

NAME = "glm-tiny"

# GLM-4's tokens without the newline it has after each. Of the past only the turn just before the question is
# shown, with a mark of its own: a model this small loses its way in more. See tokenizer.Chat.
TEMPLATE = (
    "[gMASK]<sop>"
    "{% if tools %}<|system|>"
    "{% for tool in tools %}"
    "{{ tool.function.name }}("
    "{% for name in tool.function.parameters.properties or {} %}"
    "{{ name }}{% if not loop.last %}, {% endif %}"
    "{% endfor %}) "
    "{% endfor %}"
    "{% endif %}"
    "{% set last = messages | length %}"
    "{% for message in messages %}"
    "{% set text = message.content | trim %}"
    "{% if message.role == 'system' %}<|system|>{{ text }}"
    "{% elif message.role == 'assistant' %}"
    "{% if loop.index == last - 1 %}[sMASK]{{ text }}"
    "{% elif loop.index == last %}<|assistant|>{{ text }}{% endif %}"
    "{% elif loop.index == last - 2 %}[MASK]{{ text }}"
    "{% elif loop.index >= last - 1 %}<|user|>{{ text }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write(model: TinyGLM, chat: Chat, path: Path) -> None:
    """Write the GGUF; nothing in it depends on the day or the machine."""
    writer = gguf.GGUFWriter(str(path), "chatglm")
    _facts(writer, model)
    _vocabulary(writer, chat)
    for name, weight in model.state_dict().items():
        array = weight.float().numpy()
        if array.ndim == 1:  # llama.cpp wants norms and biases unquantised
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, quantize(array, Kind.Q8_0), raw_dtype=Kind.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _facts(writer: gguf.GGUFWriter, model: TinyGLM) -> None:
    c = model.config
    writer.add_name(NAME)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.width)
    writer.add_block_count(c.layers)
    writer.add_feed_forward_length(c.ff)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_layer_norm_rms_eps(c.eps)
    writer.add_rope_dimension_count(c.rot)
    writer.add_rope_freq_base(c.rope_base)


def _vocabulary(writer: gguf.GGUFWriter, chat: Chat) -> None:
    tokens, merges = vocabulary(chat)
    kinds = [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("chatglm-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(chat.special["<|endoftext|>"])
    writer.add_eot_token_id(chat.special["<|user|>"])  # the next speaker's token ends a turn
    writer.add_pad_token_id(chat.special["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def describe(path: Path, model: TinyGLM, trained: dict[str, Any]) -> dict[str, Any]:
    """The facts that ship beside the file; no dates and no places, so that they repeat."""
    data = path.read_bytes()
    facts = {
        "name": NAME,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "parameters": model.parameters_count(),
        "context_length": model.config.context,
        "trained": trained,
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts
