"""Makes a model to serve: the real architecture and a real tokenizer, a hundred thousand random weights.

Run by the environment of the model server: ``python tiny_model.py FOLDER``. It writes nonsense, and always the same
nonsense for the same prompt, which is all that is asked of it.
"""

from __future__ import annotations

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

SENTENCES = [
    "The river carries what the rain has told the hills, and the hills forget it before the evening.",
    "Nobody asked the ferryman for news, so he kept all of it and grew rich in stories.",
]
ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
# Printable characters, blank and line break as the byte-level alphabet writes them: whatever comes out is text.
ALPHABET = [*map(chr, range(33, 127)), "Ġ", "Ċ"]
TEMPLATE = """
{%- for message in messages -%}
<|{{ message.role }}|>
{%- for call in message.tool_calls or [] -%}
{{ call.function.name }}({{ call.function.arguments | tojson }})
{%- endfor -%}
{{ message.content }}</s>
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def make(folder: str) -> None:
    """Write model and tokenizer into `folder`."""
    alphabet = Tokenizer(models.BPE())
    alphabet.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", *ROLES]
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=ALPHABET, special_tokens=special)
    alphabet.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=alphabet, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    shape = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    MistralForCausalLM(shape).save_pretrained(folder)


if __name__ == "__main__":
    make(sys.argv[1])
