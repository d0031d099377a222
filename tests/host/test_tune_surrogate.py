# SPDX-License-Identifier: BSD-2-Clause
"""The surrogate decides as the bit-exact model does, on padded batches, in steps, and with gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification
from typer.testing import CliRunner

import spatten
from spatten import Schedule, paper_schedule
from spatten.errors import ModelError
from spatten.tune.__main__ import app as command
from spatten.tune.agreement import agreement
from spatten.tune.live import UNIT, top
from spatten.tune.planes import grown_scale, needed_scale, rounded, truncated
from spatten.tune.surrogate import Decision, _greatest, surrogate
from spatten_drivers import Device, Quantization
from spatten_drivers.planes import split_planes
from spatten_drivers.quantize import quantize, symmetric_scale
from spatten_drivers.topk import top_k
from tests.host.tiny_models import WORDS, sharp_bert, sharp_gpt2, tiny_bert, tokens

HARD = {"tokens": 0.6, "heads": 0.7, "values": 0.4}
SCHEDULES = {
    "dense": Schedule(),
    "four bits": Schedule(quantization=Quantization.static(4)),
    "four bits, clamped": Schedule(quantization=Quantization.static(4, headroom=0.8, growth="saturate")),
    "pruned": paper_schedule(4, **HARD, quantization=Quantization.static(8)),
    "from a prior": paper_schedule(4, **HARD, quantization=Quantization.static(8), prior=3.0),
    "progressive": paper_schedule(4, **HARD, quantization=Quantization.progressive(6, 4, 0.5)),
    "both planes": Schedule(
        quantization=Quantization(
            k_msb_bits=8, k_lsb_bits=4, k_policy=1, v_msb_bits=8, v_lsb_bits=4, v_policy=1
        )
    ),
    "values above a share": Schedule(value_share=(0.02, 0.1, 0.0, 0.3), quantization=Quantization.static(8)),
    "high plane": Schedule(quantization=Quantization(k_msb_bits=8, k_lsb_bits=4, v_msb_bits=8, v_lsb_bits=4)),
}
TEXTS = [tokens(1, length, seed=length)[0].tolist() for length in (40, 33, 17, 9)]


@pytest.mark.parametrize("kind", [sharp_bert, sharp_gpt2], ids=["bert", "gpt2"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_decisions_are_those_of_the_device(kind: Any, name: str, device: Device) -> None:
    found = agreement(kind(), TEXTS, SCHEDULES[name], device)
    assert (found.same_keys, found.same_heads) == (found.jobs, found.jobs)
    assert found.apart <= 0.005 * found.rows
    assert found.worst < (0.002 if name == "dense" else 0.1)  # these models amplify a rounding step
    assert name != "progressive" or 0 < found.refetched < found.rows


STEPS = {
    "12 bits": {"quantization": Quantization.static(12)},
    "12 bits, prompt pruned too": {"quantization": Quantization.static(12), "prune_prefill": True},
    "values above a share": {"quantization": Quantization.static(12), "value_share": 0.05},
    "from a prior": {"quantization": Quantization.static(12), "prior": 5.0},
    "by key": {"quantization": Quantization.by_key(8, 4, 1 / 8, 12), "value_share": 0.02},
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_of_a_generation_are_those_of_the_device(name: str, device: Device) -> None:
    schedule = paper_schedule(
        4,
        **{"prune_prefill": False, **HARD, **STEPS[name]},
        decay=0.5,
        protect_last=3,
    )
    model, ids, told = sharp_gpt2(), tokens(1, 30), list[Decision]()
    with torch.inference_mode():
        with surrogate(model, schedule, watch=told.append):
            ours = _fed(model, ids, prompt=20)
        with spatten.attach(model, schedule=schedule, device=device) as session:
            theirs = _fed(model, ids, prompt=20)
    keys = [tuple(decision.keys[0].nonzero()[:, 0].tolist()) for decision in told]
    assert keys == [record.keys for record in session.record.layers]
    assert min(len(own) for own in keys) < 20
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 * float(theirs.abs().max()))
    again = [0 if d.refetched is None else int(d.refetched[d.heads].sum()) for d in told]
    assert again == [record.refetched_rows for record in session.record.layers]
    assert (name == "by key") == any(again)


def _fed(model: Any, ids: torch.Tensor, prompt: int) -> torch.Tensor:
    answer = model(input_ids=ids[:, :prompt], use_cache=True)
    logits = [answer.logits[:, -1]]
    for place in range(prompt, ids.shape[1]):
        feed = ids[:, place : place + 1]
        answer = model(input_ids=feed, past_key_values=answer.past_key_values, use_cache=True)
        logits.append(answer.logits[:, -1])
    return torch.cat(logits)


def test_padding_changes_nothing() -> None:
    """Without a registered mask a padded row would attend to its padding."""
    model = sharp_bert()
    short, long = tokens(1, 12), tokens(1, 30, seed=2)
    batch = torch.cat([torch.nn.functional.pad(short, (0, 18)), long])
    mask = torch.ones_like(batch)
    mask[0, 12:] = 0
    with torch.inference_mode(), surrogate(model, SCHEDULES["pruned"]):
        alone = model(input_ids=short).last_hidden_state[0]
        padded = model(input_ids=batch, attention_mask=mask).last_hidden_state[0, :12]
    torch.testing.assert_close(alone, padded, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_weight_of_attention() -> None:
    model = sharp_bert(BertForSequenceClassification).train()
    with surrogate(model, SCHEDULES["progressive"]):
        model(input_ids=tokens(4, 24), labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    for name, weight in model.bert.encoder.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        # A bias of K shifts all scores of a row alike, which softmax does not see.
        assert name.endswith("key.bias") or float(weight.grad.abs().max()) > 0, name


def test_gradient_of_rounding_is_that_of_the_identity() -> None:
    values = torch.randn(1, 2, 5, 32, requires_grad=True)
    live = torch.ones(1, 5, dtype=torch.bool)
    whole = rounded(values, needed_scale(values, live, 8), 8)
    truncated(whole, needed_scale(values, live, 8), midpoint=True).sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))


def test_grids_are_the_drivers() -> None:
    values = torch.randn(1, 3, 20, 32, generator=torch.Generator().manual_seed(0))
    scale = symmetric_scale(values[0].numpy(), 10)
    integers, _ = quantize(values[0].numpy(), scale, 10)
    live = torch.ones(1, 20, dtype=torch.bool)
    ours = needed_scale(values, live, 10)
    np.testing.assert_allclose(ours[0].numpy(), scale, rtol=1e-6)
    whole = rounded(values, ours, 10)
    assert np.array_equal(_steps(whole, ours), integers)
    msb, _ = split_planes(integers, 4)
    for midpoint in (False, True):
        assert np.array_equal(
            _steps(truncated(whole, ours, midpoint), ours), (msb.astype(int) << 4) + 8 * midpoint
        )


def _steps(values: torch.Tensor, scale: torch.Tensor) -> np.ndarray:
    return torch.round(values / scale[:, :, None, None])[0].numpy().astype(int)


def test_scale_counts_live_rows_only_and_doubles() -> None:
    values = torch.ones(1, 1, 3, 32)
    values[0, 0, 2] = 100.0
    live = torch.tensor([[True, True, False]])
    scale = needed_scale(values, live, 8)
    assert float(scale) == pytest.approx(1 / 127)
    assert float(grown_scale(scale, 5 * scale) / scale) == 8.0
    assert float(grown_scale(scale, 0.5 * scale) / scale) == 1.0


@pytest.mark.parametrize("keep", [1, 3, 7])
def test_survivors_are_those_of_the_drivers_top_k(keep: int) -> None:
    rng = np.random.default_rng(keep)
    scores = rng.integers(0, 4, (6, 12))
    among = np.ones((6, 12), bool)
    among[:, 9:] = rng.random((6, 3)) < 0.5
    found = top(torch.tensor(scores * UNIT), torch.tensor(among), torch.full((6,), keep)).numpy()
    for row in range(6):
        live = np.flatnonzero(among[row])
        assert np.flatnonzero(found[row]).tolist() == live[top_k(scores[row, live], keep)].tolist()


def test_kept_values_are_the_greatest_and_ties_go_left() -> None:
    weights = torch.tensor([[[[0.1, 0.4, 0.1, 0.4, 0.0]]]])
    assert _greatest(weights, torch.tensor([3]))[0, 0, 0].tolist() == [True, True, False, True, False]


def test_the_model_is_as_it_was_afterwards() -> None:
    model, ids = sharp_bert(), tokens(1, 12)
    with torch.inference_mode():
        before = model(input_ids=ids).last_hidden_state
        with surrogate(model, SCHEDULES["pruned"]):
            assert not torch.equal(model(input_ids=ids).last_hidden_state, before)
            with pytest.raises(ModelError, match="attached already"), surrogate(model, SCHEDULES["pruned"]):
                pass
        assert torch.equal(model(input_ids=ids).last_hidden_state, before)


def test_another_rule_changes_who_survives() -> None:
    model, told = sharp_bert(), {"first": list[Decision](), "paper": list[Decision]()}

    def first(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
        return -torch.arange(probabilities.shape[-1]).expand(len(probabilities), -1)

    with torch.inference_mode():
        with surrogate(model, SCHEDULES["pruned"], rule=first, watch=told["first"].append):
            model(input_ids=tokens(1, 30))
        with surrogate(model, SCHEDULES["pruned"], watch=told["paper"].append):
            model(input_ids=tokens(1, 30))
    assert not torch.equal(told["first"][-1].keys, told["paper"][-1].keys)


def test_protected_tokens_stay_however_much_a_rule_gives_the_others() -> None:
    seen: list[Decision] = []

    def loud(probabilities: torch.Tensor, values: torch.Tensor, layer: int) -> torch.Tensor:
        gain = torch.full((len(probabilities), probabilities.shape[-1]), 2.0**60)
        gain[:, 0] = 0.0
        return gain

    model = sharp_bert()
    with torch.inference_mode(), surrogate(model, SCHEDULES["pruned"], rule=loud, watch=seen.append):
        model(input_ids=tokens(1, 30))
    assert len(seen) == 4
    assert all(decision.keys[0, 0] for decision in seen)


def test_the_table_of_the_page_is_made_by_a_command(tmp_path: Path) -> None:
    rows = [f'{{"text": "the whale rose {a} {b}", "label": {len(a) % 2}}}' for a in WORDS for b in WORDS[:2]]
    (tmp_path / "t.jsonl").write_text("\n".join(rows), "utf-8")
    arguments = [tiny_bert(tmp_path / "bert"), "--data", str(tmp_path / "t.jsonl"), "--texts", "2"]
    lines = CliRunner().invoke(command, arguments).stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        f"| {name}" for name in ("dense", "progressive", "gentle", "paper-bert", "4 bit, tokens -30%")
    ]
    assert all(" 8 | 100.0% | 100.0% | 100.00% |" in line for line in lines[2:])
