# SPDX-License-Identifier: BSD-2-Clause
"""Fidelity: each measure beside the same number computed here from plain eager passes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

import spatten
from spatten.catalog import LoadedModel, load
from spatten.errors import InputError
from spatten.fidelity import evaluate
from spatten.hf.session import session_of
from spatten.runs.tasks import Target
from spatten_drivers import Device
from tests.host.tiny_models import tiny_bert, tiny_gpt2

TEXTS = ["the whale rose from a dark sea", "one ship sank near its coast and the whale rose"]
PRUNED = spatten.Schedule(tokens=(1.0, 0.7, 0.5, 0.4), protect_first=1, name="pruned")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    base = tmp_path_factory.mktemp("models")
    bert, classifier = tiny_bert(base / "bert"), tiny_bert(base / "classifier", labels=3)
    return {
        "embedding": load(bert),
        "similarity": load(bert, "similarity"),
        "classification": load(classifier),
        "generation": load(tiny_gpt2(base / "gpt2")),
    }


def ids_of(loaded: LoadedModel, text: str) -> torch.Tensor:
    return loaded.tokenizer(text, return_tensors="pt")["input_ids"]


def both(loaded: LoadedModel, schedule: Any, device: Device, call: Any) -> list[tuple[Any, Any, Any]]:
    """What ``call`` answers on eager attention and on the device, and the records of the latter."""
    found = []
    with torch.inference_mode():
        for text in TEXTS:
            ids = ids_of(loaded, text)
            eager = call(loaded.model, ids)
            with spatten.attach(loaded.model, schedule=schedule, device=device) as session:
                found.append((eager, call(loaded.model, ids), session.record.layers))
    return found


@pytest.mark.parametrize("task", ["embedding", "similarity"])
@pytest.mark.parametrize("schedule", ["dense", PRUNED], ids=str)
def test_cosine_is_between_means_over_all_tokens_and_over_live_ones(
    task: str, schedule: Any, models: dict[str, LoadedModel], device: Device
) -> None:
    found = evaluate(models[task], TEXTS, Target(schedule, device))
    pairs = both(models[task], schedule, device, lambda model, ids: model(ids)[0][0])
    cosines = [
        float(cosine_similarity(eager.mean(dim=0), given[list(layers[-1].keys)].mean(dim=0), dim=0))
        for eager, given, layers in pairs
    ]
    assert found.measures["mean cosine to eager"] == pytest.approx(sum(cosines) / 2)
    assert found.measures["worst cosine to eager"] == pytest.approx(min(cosines))
    assert (found.task, found.texts) == (task, 2)
    assert (min(cosines) > 0.9999) == (schedule == "dense")


def test_agreement_counts_labels_and_the_greatest_change(
    models: dict[str, LoadedModel], device: Device
) -> None:
    loaded = models["classification"]
    found = evaluate(loaded, TEXTS, Target(PRUNED, device))
    pairs = both(loaded, PRUNED, device, lambda model, ids: model(ids).logits[0].softmax(dim=-1))
    same = [float(eager.argmax() == given.argmax()) for eager, given, _ in pairs]
    change = max(float((eager - given).abs().max()) for eager, given, _ in pairs)
    assert found.measures["same label as eager"] == sum(same) / 2
    assert found.measures["largest change of a probability"] == pytest.approx(change)
    assert change > 0


def test_perplexity_is_that_of_the_second_half_of_each_text(
    models: dict[str, LoadedModel], device: Device
) -> None:
    loaded, losses = models["generation"], []
    for text in TEXTS:
        ids = ids_of(loaded, text)
        prompt = ids.shape[1] // 2
        with torch.inference_mode():
            logits = loaded.model(ids).logits[0]
        losses.append(cross_entropy(logits[prompt - 1 : -1], ids[0, prompt:], reduction="none"))
    measures = evaluate(loaded, TEXTS, Target("dense", device)).measures
    assert measures["perplexity, eager"] == pytest.approx(math.exp(float(torch.cat(losses).mean())), rel=1e-5)
    assert measures["ratio"] == measures["perplexity, device"] / measures["perplexity, eager"]
    assert 0 < abs(measures["ratio"] - 1) < 1e-3


def test_texts_are_fed_token_by_token_behind_their_prompt(
    models: dict[str, LoadedModel], device: Device
) -> None:
    loaded = models["generation"]
    layers = evaluate(loaded, TEXTS[:1], Target("paper-gpt2", device)).record.layers
    length = ids_of(loaded, TEXTS[0]).shape[1]
    queries = [record.queries for record in layers if record.layer == 0]
    assert queries == [length // 2] + [1] * (length - length // 2)


def test_every_text_is_told_twice_and_recorded_once(models: dict[str, LoadedModel], device: Device) -> None:
    told: list[None] = []
    found = evaluate(models["embedding"], TEXTS, Target("dense", device), lambda: told.append(None))
    assert len(told) == 4
    assert len(found.record.layers) == 2 * 4
    assert found.record.device == str(device)


def test_model_is_left_as_it_was_also_after_an_error(models: dict[str, LoadedModel], device: Device) -> None:
    model = models["embedding"].model

    def stop() -> None:
        if session_of(model) is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(models["embedding"], TEXTS, Target("dense", device), stop)
    assert session_of(model) is None
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("task", "text", "said"),
    [
        ("embedding", "whale " * 70, "has 72 tokens; {name} evaluates 1 to 64. Lengthen or split it"),
        ("generation", "a", "has 1 tokens; {name} evaluates 4 to 64. Lengthen or split it"),
        ("generation", "sea sank " * 40, "tokens; {name} evaluates 4 to 64. Lengthen or split it"),
    ],
)
def test_text_of_the_wrong_length_is_refused_before_anything_runs(
    task: str, text: str, said: str, models: dict[str, LoadedModel], device: Device
) -> None:
    def never() -> None:
        raise AssertionError("a text was evaluated")

    with pytest.raises(InputError) as caught:
        evaluate(models[task], [TEXTS[0], text], Target("dense", device), never)
    assert str(caught.value).startswith(f"text {text[:40]!r} has ")
    assert str(caught.value).endswith(said.format(name=models[task].name))
