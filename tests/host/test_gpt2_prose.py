# SPDX-License-Identifier: BSD-2-Clause
"""The folder of gpt2-prose as it ships: size, formats, shape, and that it has learned its texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from spatten.catalog import gpt2_prose_folder, load
from spatten.training.corpus import held_out_texts
from spatten.training.evaluate import measure
from spatten.training.export import LIMIT, folder_bytes
from spatten.training.recipe import prose_tokenizer

FOLDER = Path(gpt2_prose_folder())
FILES = {
    "LICENSE",
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
#: Characters of a held-out text that are measured here, and a perplexity that it must stay below.
PIECE = 20_000
BOUND = {"state-of-the-union": 65, "moby-dick": 115}


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return AutoModelForCausalLM.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER)


def test_the_folder_is_whole_and_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert folder_bytes(FOLDER) <= LIMIT == 16_000_000


def test_weights_are_stored_in_float16_once() -> None:
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert {weights.get_slice(name).get_dtype() for name in names} == {"F16"}
    assert "lm_head.weight" not in names  # tied to the embedding


def test_the_shape_is_one_that_the_accelerator_takes(model: GPT2LMHeadModel) -> None:
    config = model.config
    assert model.dtype is torch.float32
    assert config.n_embd // config.n_head == 64
    assert config.n_positions == 1024
    assert (config.vocab_size, config.bos_token_id, config.eos_token_id) == (8192, 0, 0)
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)


def test_the_catalogue_loads_it() -> None:
    loaded = load("gpt2-prose")
    assert (loaded.task, loaded.max_tokens) == ("generation", 1024)


def test_the_tokenizer_is_that_of_a_gpt2(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.is_fast
    assert type(tokenizer).__name__ == "GPT2Tokenizer"
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
    assert (len(tokenizer), tokenizer.model_max_length) == (8192, 1024)


@pytest.mark.parametrize("text", ["", " two  spaces ", "na\u00efve \u9be8 \U0001f40b\r\n\t\x00"])
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_vocabulary_is_the_same_bytes_when_saved_again(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """transformers notes in the other file that a tokenizer was loaded from a folder."""
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (FOLDER / "tokenizer.json").read_bytes()


def test_tokenizer_files_are_the_same_bytes_when_learned_again(tmp_path: Path) -> None:
    prose_tokenizer().save_pretrained(tmp_path)  # from the training texts alone
    for name in TOKENIZER_FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", BOUND)
def test_it_has_learned_to_foretell(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, name: str
) -> None:
    assert measure(model, tokenizer, held_out_texts()[name][:PIECE]).perplexity < BOUND[name]


def test_late_positions_are_trained_too(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    text = held_out_texts()["state-of-the-union"]
    ids = torch.tensor(tokenizer(text[:60_000], verbose=False)["input_ids"][: 8 * 1024]).view(8, 1024)
    with torch.inference_mode():
        logits = model(ids).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(0)
    assert loss[768:].mean() < 1.1 * loss[:256].mean()  # a place that was never trained is lost entirely


def test_generation_does_not_warn(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = tokenizer("It was a dark night", return_tensors="pt")
    made = model.generate(**prompt, max_new_tokens=8, do_sample=False)
    assert made.shape[1] <= prompt["input_ids"].shape[1] + 8


@pytest.mark.deep
@pytest.mark.parametrize("name", BOUND)
def test_the_card_says_what_is_measured(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, name: str
) -> None:
    found = measure(model, tokenizer, held_out_texts()[name])
    tokens, perplexity, bits = _row(name)
    assert tokens == found.tokens
    assert perplexity == pytest.approx(found.perplexity, abs=0.01)
    assert bits == pytest.approx(found.bits_per_byte, abs=0.001)


def _row(name: str) -> list[float]:
    """Tokens, perplexity and bits per byte of a text, out of the card."""
    card = (FOLDER / "README.md").read_text("utf-8")
    row = re.search(rf"^\| {name} \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|", card, re.MULTILINE)
    assert row is not None
    return [float(cell.replace(",", "")) for cell in row.groups()]
