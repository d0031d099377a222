# SPDX-License-Identifier: BSD-2-Clause
"""Model folders small enough to build in a test: random weights, a tokenizer trained on a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D

WORDS = [
    "the",
    "whale",
    "rose",
    "from",
    "a",
    "dark",
    "sea",
    "and",
    "one",
    "ship",
    "sank",
    "near",
    "its",
    "coast",
]
SHAPE = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}


def tiny_bert(folder: Path, labels: int = 0) -> str:
    """A BERT with heads of 32 and 64 positions; with ``labels`` it classifies."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = BertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=64, num_labels=labels or 2, **SHAPE
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(config) if labels else BertModel(config)
    return _saved(folder, model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special))


def tiny_gpt2(folder: Path) -> str:
    """A GPT-2 with heads of 32 and 64 positions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    config = GPT2Config(
        vocab_size=300,
        n_positions=64,
        n_embd=64,
        n_layer=4,
        n_head=2,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    return _saved(folder, GPT2LMHeadModel(config), wrapped)


def _saved(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def sharp_bert(kind: type[PreTrainedModel] = BertModel, **changes: Any) -> PreTrainedModel:
    """A BERT in memory, 4 layers of 4 heads of 32, whose attention and heads differ as trained ones do."""
    shape = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 96}
    config = BertConfig(**{"vocab_size": 60, "max_position_embeddings": 64, **shape, **changes})
    return _sharpened(kind, config, 8.0)


def sharp_gpt2(kind: type[PreTrainedModel] = GPT2LMHeadModel, **changes: Any) -> PreTrainedModel:
    """A GPT-2 in memory, 4 layers of 4 heads of 32, whose attention and heads differ as trained ones do."""
    shape = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_inner": 96, "n_positions": 64}
    ids = {"bos_token_id": 0, "eos_token_id": None, "pad_token_id": 0}
    return _sharpened(kind, GPT2Config(**{"vocab_size": 60, **shape, **ids, **changes}), 4.0)


def _sharpened(kind: type[PreTrainedModel], config: Any, factor: float) -> PreTrainedModel:
    """Fresh weights are small and biases zero: tokens would count alike, a forgotten bias not show."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(config).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.weight.data *= 10.0
            elif isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings():
                module.weight.data *= factor
                if module.bias is not None:
                    module.bias.data.normal_(0.0, 0.1)
    return model


def tokens(rows: int, columns: int, seed: int = 1) -> torch.Tensor:
    """Token ids of the sharp models, none of them special."""
    return torch.randint(4, 60, (rows, columns), generator=torch.Generator().manual_seed(seed))
