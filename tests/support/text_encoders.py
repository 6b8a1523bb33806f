"""Small encoders of several architectures, as transformers saves them, with a tokenizer beside them."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, BertConfig, DistilBertConfig, GPT2Config, ModernBertConfig, T5Config

WORDS = ["[PAD]", "[UNK]", "left", "right", "up", "the", "arrow", "points"]
COMMON = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPECIALS = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0)
CONFIGS: dict[str, Any] = {
    "bert": lambda: BertConfig(vocab_size=50, max_position_embeddings=40, **COMMON),
    "distilbert": lambda: DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, vocab_size=50),
    "gpt2": lambda: GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=0),
    "t5": lambda: T5Config(d_model=16, num_layers=2, num_heads=2, d_kv=8, d_ff=32, vocab_size=50),
    "modernbert": lambda: ModernBertConfig(vocab_size=50, **COMMON, **SPECIALS),
}


def save_encoder(kind: str, folder: Path) -> Any:
    """Write a model of random weights and its tokenizer; the model, without what follows the states of the tokens."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    model = AutoModel.from_config(CONFIGS[kind]())
    model.save_pretrained(folder)
    words = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(folder)
    return (model.get_encoder() if model.config.is_encoder_decoder else model).eval()
