# SPDX-License-Identifier: BSD-2-Clause
"""Pruned runs beside an independent float64 forward pass (:mod:`tests.host.reference`).

The reference goes the device's way and judges each choice: whom the device kept must be whom the reference
would keep, or all but equal to it (`NEAR_TIE`). Given the same survivors the states agree as closely as
unpruned ones do: two 12-bit steps a layer of the loudest state. Local value pruning has no such record to
follow, and two keys of nearly the same probability may differ in value: `VALUE_TIE` allows for such a pair,
while a run that forgot to prune values would be off by more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertModel, DynamicCache, GPT2Model, PreTrainedModel

import spatten
from spatten import Schedule, Session
from spatten.catalog import load
from spatten.record import LayerRecord
from spatten_drivers import AcceleratorConfig, Device, Emulator, Quantization, open_device
from spatten_drivers.errors import SpattenError
from tests.host.reference import Chooser, Following, Gpt2, Pass, bert, chosen_by_device
from tests.host.room import require_room
from tests.host.tiny_models import sharp_bert, sharp_gpt2, tokens

STEP = 1 / 2047
NEAR_TIE = 0.01
VALUE_TIE = 0.1
LAYERS, HEADS = 4, 4

CASCADES = {
    "tokens": Schedule(tokens=(1.0, 0.8, 0.6, 0.3)),
    "heads": Schedule(heads=(1.0, 0.75, 0.75, 0.25)),
    "tokens and heads": Schedule(tokens=(1.0, 0.7, 0.5, 0.4), heads=(1.0, 1.0, 0.75, 0.5)),
    "one step down": Schedule(tokens=0.5, heads=0.5),
    "nearly everything": Schedule(tokens=(1.0, 0.1, 0.05, 0.01), heads=0.01),
    "tokens from a prior": Schedule(tokens=(1.0, 0.8, 0.6, 0.3), prior=2.0),
    "values": Schedule(values=0.3),
    "values above a share": Schedule(value_share=(0.1, 0.02, 0.0, 0.5)),
    "everything at once": Schedule(
        tokens=(1.0, 0.8, 0.6, 0.3), heads=(1.0, 0.75, 0.5, 0.5), values=(0.5, 0.5, 0.4, 0.2)
    ),
}
GENERATIONS = CASCADES | {
    "prompt read whole": Schedule(
        tokens=(1.0, 0.8, 0.6, 0.3), heads=(1.0, 1.0, 0.75, 0.5), prune_prefill=False
    ),
    "importance that decays": Schedule(tokens=(0.6, 0.5, 0.4, 0.3), decay=0.7),
    "prompt read whole, from a prior": Schedule(
        tokens=(0.8, 0.7, 0.6, 0.3), prior=5.0, decay=0.9, prune_prefill=False
    ),
    "importance that is forgotten": Schedule(tokens=0.5, decay=0.0, prune_prefill=False),
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def assert_same_way(expected: Pass, records: list[LayerRecord]) -> None:
    """Keys, queries and heads of every layer of one pass of one sequence."""
    assert [record.layer for record in records] == list(range(len(expected.layers)))
    for layer, record in zip(expected.layers, records, strict=True):
        assert layer.keys.tolist() == list(record.keys)
        assert layer.heads.tolist() == list(record.heads)
        assert len(layer.queries) == record.queries


def assert_close(given: torch.Tensor, expected: Pass, schedule: Schedule) -> None:
    loudest = np.abs(expected.hidden).max()
    error = np.abs(given.double().numpy() - expected.hidden)
    whole = schedule.values == 1.0 and not schedule.value_share
    share = 2 * len(expected.layers) * STEP if whole else VALUE_TIE
    assert error.max() <= share * loudest


# ------------------------------------------------------------------------------- the reference itself


def test_reference_is_eager_when_nothing_is_pruned() -> None:
    ids, plan = tokens(1, 20), Schedule().plan(LAYERS)
    model = sharp_bert().double()
    assert np.abs(bert(model, ids[0].numpy(), plan).hidden - model(ids)[0][0].numpy()).max() < 1e-10
    model = sharp_gpt2(GPT2Model).double()
    reference = Gpt2(model, plan)
    parts = [reference.feed(part.numpy()).hidden for part in ids[0].split([12, 1, 1, 6])]
    assert np.abs(np.concatenate(parts) - model(ids)[0][0].numpy()).max() < 1e-10


def test_chooser_keeps_the_protected_then_the_greater_then_the_lower() -> None:
    importance = np.array([1.0, 5.0, 3.0, 5.0, 3.0])
    kept = Chooser().keep(("tokens", 0, 1), np.arange(5), importance, 4, frozenset({0}))
    assert kept.tolist() == [0, 1, 2, 3]


def test_following_measures_a_bad_choice() -> None:
    follow, importance = Following({("tokens", 0, 1): [0, 2]}), np.array([0.0, 5.0, 4.0])
    follow.keep(("tokens", 0, 1), np.arange(3), importance, 2, frozenset({0}))
    assert follow.worst == pytest.approx(0.25)
    with pytest.raises(AssertionError):
        follow.keep(("tokens", 0, 1), np.arange(3), importance, 2, frozenset({1}))


# ------------------------------------------------------------------------------- BERT


@pytest.mark.parametrize("name", CASCADES)
def test_bert_prunes_as_the_reference(name: str, device: Device) -> None:
    model, ids, schedule = sharp_bert(), tokens(1, 40), CASCADES[name]
    with spatten.attach(model, schedule=schedule, device=device) as session:
        given = model(ids)[0][0]
    follow = Following(chosen_by_device(session.record.layers))
    expected = bert(model, ids[0].numpy(), schedule.plan(LAYERS), follow)
    assert follow.worst <= NEAR_TIE
    assert_same_way(expected, session.record.layers)
    assert_close(given, expected, schedule)


def test_minilm_prunes_as_the_reference(device: Device) -> None:
    loaded = load("minilm")
    text = "The whale rose from a dark sea, and one ship sank near its coast before the storm had passed."
    ids, schedule = (
        loaded.tokenizer(text, return_tensors="pt")["input_ids"],
        spatten.paper_schedule(6, tokens=0.6),
    )
    require_room(device, heads=loaded.model.config.num_attention_heads, tokens=ids.shape[1])
    with spatten.attach(loaded.model, schedule=schedule, device=device) as session:
        given = loaded.model(ids)[0][0]
    follow = Following(chosen_by_device(session.record.layers))
    expected = bert(loaded.model, ids[0].numpy(), schedule.plan(6), follow)
    assert len(expected.layers[-1].keys) < 0.5 * ids.shape[1]
    assert follow.worst <= NEAR_TIE
    assert_same_way(expected, session.record.layers)
    assert_close(given, expected, schedule)


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_row_of_a_padded_batch_is_pruned_by_its_own_length(side: str, device: Device) -> None:
    model, schedule, lengths = sharp_bert(), CASCADES["tokens and heads"], (31, 3, 18)
    mask = torch.stack([torch.arange(31) < n for n in lengths])
    mask = mask.flip(1) if side == "left" else mask
    ids, positions = tokens(3, 31), (mask.long().cumsum(dim=1) - 1).clamp(min=0)
    with spatten.attach(model, schedule=schedule, device=device) as session:
        given = model(ids, attention_mask=mask.long(), position_ids=positions)[0]
    for row in range(3):
        own = [record for record in session.record.layers if record.row == row]
        follow = Following(chosen_by_device(own, row))
        expected = bert(model, ids[row, mask[row]].numpy(), schedule.plan(LAYERS), follow)
        assert follow.worst <= NEAR_TIE
        assert_same_way(expected, own)
        assert_close(given[row, mask[row]], expected, schedule)


def test_pruned_token_of_bert_never_enters_an_ffn_again(device: Device) -> None:
    model, rows = sharp_bert(), []
    for block in model.encoder.layer:
        block.intermediate.register_forward_pre_hook(lambda _, x: rows.append(x[0].shape[:2].numel()))
    with spatten.attach(model, schedule=CASCADES["tokens"], device=device):
        model(tokens(1, 40))
        assert rows == [32, 24, 12, 12]
        rows.clear()
        model(tokens(2, 20))
        assert rows == [2 * 16, 2 * 12, 2 * 6, 2 * 6]


def test_pruned_token_of_bert_keeps_its_last_state(device: Device) -> None:
    model, ids = sharp_bert(), tokens(1, 40)
    with spatten.attach(model, schedule=CASCADES["tokens"], device=device) as session:
        states = model(ids, output_hidden_states=True).hidden_states
    for record, before, after in zip(session.record.layers, states, states[1:], strict=False):
        gone = sorted(set(range(40)) - set(record.survivors))
        changed = (before != after).any(dim=-1)[0]
        assert not changed[gone].any()
        assert changed[list(record.survivors)].all()


def flops_of(model: PreTrainedModel, ids: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(ids)
    return counter.get_total_flops()


def test_bert_computes_live_tokens_and_live_heads_only(device: Device) -> None:
    model, schedule = sharp_bert(), CASCADES["tokens and heads"]
    with spatten.attach(model, schedule=schedule, device=device):
        counted = flops_of(model, tokens(1, 40))
    alive, heads, hidden, inner = [40, 28, 20, 16, 16], [4, 4, 3, 2], 128, 96
    projected = sum(3 * alive[i] * hidden * heads[i] * 32 for i in range(LAYERS))
    mixed = sum(alive[i] * hidden * hidden for i in range(LAYERS))
    ffn = sum(2 * alive[i + 1] * hidden * inner for i in range(LAYERS))
    pooler = hidden * hidden
    assert counted == 2 * (projected + mixed + ffn + pooler)


def test_gpt2_computes_live_tokens_and_live_heads_only(device: Device) -> None:
    model, schedule = sharp_gpt2(GPT2Model), CASCADES["tokens and heads"]
    with spatten.attach(model, schedule=schedule, device=device):
        counted = flops_of(model, tokens(1, 40))
    alive, heads, hidden, inner = [40, 28, 20, 16], [4, 4, 3, 2], 128, 96
    projected = sum(3 * alive[i] * hidden * heads[i] * 32 for i in range(LAYERS))
    rest = sum(alive[i] * (hidden * hidden + 2 * hidden * inner) for i in range(LAYERS))
    assert counted == 2 * (projected + rest)


def test_weights_of_heads_that_are_gone_are_not_looked_at(device: Device) -> None:
    model, ids, schedule = sharp_bert(), tokens(1, 30), CASCADES["tokens and heads"]
    with spatten.attach(model, schedule=schedule, device=device) as session:
        before = model(ids)[0]
        gone = sorted(set(range(HEADS)) - set(session.record.layers[3].heads))
        for name in ("query", "key", "value"):
            layer = getattr(model.encoder.layer[3].attention.self, name)
            layer.weight.view(HEADS, 32, 128)[gone] = torch.nan
        assert torch.equal(model(ids)[0], before)
    assert len(gone) == 2


@pytest.mark.parametrize("inference", [True, False])
def test_weights_changed_between_calls_count(inference: bool, device: Device) -> None:
    with torch.inference_mode(inference), torch.no_grad():
        model, ids, schedule = sharp_bert(), tokens(1, 30), CASCADES["tokens and heads"]
        with spatten.attach(model, schedule=schedule, device=device) as session:
            model(ids)
            for parameter in ("weight", "bias"):
                before = session.record.layers[3].digest
                session.reset_record()
                getattr(model.encoder.layer[3].attention.self.key, parameter).mul_(1.5)
                model(ids)
                assert session.record.layers[3].digest != before
            changed = session.record.layers[3].digest
        with spatten.attach(model, schedule=schedule, device=device) as session:
            model(ids)
        assert session.record.layers[3].digest == changed


# ------------------------------------------------------------------------------- GPT-2


def fed(model: PreTrainedModel, pieces: list[torch.Tensor]) -> list[torch.Tensor]:
    """States of each piece, one after the other through one cache."""
    cache = DynamicCache()
    return [model(piece, past_key_values=cache)[0] for piece in pieces]


def by_step(records: list[LayerRecord]) -> list[list[LayerRecord]]:
    return [[r for r in records if r.step == step] for step in range(records[-1].step + 1)]


def assert_fed_as_reference(
    model: PreTrainedModel, schedule: Schedule, pieces: list[torch.Tensor], device: Device
) -> None:
    """Pieces of a text, each behind the cache of those before it, go the reference's way."""
    with spatten.attach(model, schedule=schedule, device=device) as session:
        given = fed(model, pieces)
    follow = Following(chosen_by_device(session.record.layers))
    reference = Gpt2(model, schedule.plan(LAYERS), follow)
    for piece, states, records in zip(pieces, given, by_step(session.record.layers), strict=True):
        expected = reference.feed(piece[0].numpy())
        assert_same_way(expected, records)
        assert_close(states[0], expected, schedule)
    assert follow.worst <= NEAR_TIE


@pytest.mark.parametrize("name", GENERATIONS)
def test_gpt2_prunes_prompt_and_steps_as_the_reference(name: str, device: Device) -> None:
    model, schedule = sharp_gpt2(GPT2Model), GENERATIONS[name]
    pieces = [*tokens(1, 38).split([30, *[1] * 8], dim=1)]
    assert_fed_as_reference(model, schedule, pieces, device)


def test_several_tokens_fed_behind_a_cache_are_pruned_as_the_reference(device: Device) -> None:
    model, schedule = sharp_gpt2(GPT2Model), Schedule(tokens=(0.9, 0.8, 0.6, 0.4))
    pieces = [*tokens(1, 40).split([20, 7, 1, 12], dim=1)]
    assert_fed_as_reference(model, schedule, pieces, device)


def test_generation_writes_what_the_reference_writes(device: Device) -> None:
    model, schedule, ids = sharp_gpt2(), GENERATIONS["prompt read whole"], tokens(1, 24)
    with spatten.attach(model, schedule=schedule, device=device) as session:
        written = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )[0]
    follow = Following(chosen_by_device(session.record.layers))
    reference, piece, head = Gpt2(model, schedule.plan(LAYERS), follow), ids[0].numpy(), model.lm_head.weight
    for token in written[24:].tolist():
        state = reference.feed(piece).hidden[-1]
        assert (head.double().numpy() @ state).argmax() == token
        piece = np.array([token])
    assert follow.worst <= NEAR_TIE
    assert reference.step == 12


def test_heads_are_chosen_once_whatever_comes_later(device: Device) -> None:
    model, schedule, quiet = sharp_gpt2(GPT2Model), Schedule(heads=(1.0, 0.75, 0.75, 0.75)), 2
    # One head is silent until a token comes in a direction that no other token has.
    direction, values = torch.tensor([1.0, -1.0] * 64), slice(256 + 32 * quiet, 256 + 32 * (quiet + 1))
    for table in (model.wte.weight, model.wpe.weight):
        table -= torch.outer(table @ direction, direction) / 128
    model.wte.weight[59] = 100.0 * direction
    model.h[0].attn.c_attn.weight[:, values] = 0.1 * direction[:, None]
    model.h[0].attn.c_attn.bias[values] = 0.0
    pieces = [tokens(1, 3) % 59, *[torch.tensor([[59]])] * 12]
    with spatten.attach(model, schedule=schedule, device=device) as session:
        fed(model, pieces)
    reference = Gpt2(model, schedule.plan(LAYERS), Following(chosen_by_device(session.record.layers)))
    for piece in pieces:
        reference.feed(piece[0].numpy())
    assert reference.head_importance.argmin() != quiet  # chosen again, it would live
    assert {r.heads for r in session.record.layers if r.layer} == {(0, 1, 3)}


def test_step_starts_wide_and_narrows_by_layer(device: Device) -> None:
    schedule = Schedule(tokens=(0.8, 0.6, 0.4, 0.2), prune_prefill=False)
    model, pieces = sharp_gpt2(GPT2Model), [*tokens(1, 32).split([30, 1, 1], dim=1)]
    with spatten.attach(model, schedule=schedule, device=device) as session:
        fed(model, pieces)
    prompt, *steps = by_step(session.record.layers)
    assert [len(record.keys) for record in prompt] == [30] * 4
    for length, records in zip((31, 32), steps, strict=True):
        assert [len(r.keys) for r in records] == [round(share * length) for share in (0.8, 0.6, 0.4, 0.2)]
        for before, after in pairwise(records):
            assert set(after.keys) < set(before.keys)
        assert all(length - 1 in r.keys for r in records)  # the step's own token


def test_value_pruning_of_a_step_fetches_only_the_kept_rows(device: Device) -> None:
    model, pieces = sharp_gpt2(GPT2Model), [*tokens(1, 31).split([30, 1], dim=1)]
    with spatten.attach(model, schedule=Schedule(values=0.2, prune_prefill=False), device=device) as session:
        fed(model, pieces)
    _, step = by_step(session.record.layers)
    assert {(r.keys_fetched, r.values_fetched) for r in step} == {(HEADS * 31, HEADS * 6)}


def test_a_share_of_the_greatest_weight_limits_the_values_of_steps_and_of_no_prompt(device: Device) -> None:
    """Layer by layer: a share of 1 leaves the greatest weight of each head, 0 all values."""
    model, pieces = sharp_gpt2(GPT2Model), [*tokens(1, 31).split([30, 1], dim=1)]
    found = {}
    for share in (0.0, (1.0, 0.0, 0.05, 0.01)):
        with spatten.attach(
            model, schedule=Schedule(value_share=share, prune_prefill=False), device=device
        ) as session:
            outputs = fed(model, pieces)
        found[share] = *by_step(session.record.layers), outputs
    (whole_prompt, _, whole), (prompt, step, limited) = found.values()
    assert [r.digest for r in prompt] == [r.digest for r in whole_prompt]
    assert [r.values_fetched for r in step[:2]] == [HEADS, HEADS * 31]
    assert HEADS < step[2].values_fetched < HEADS * 31
    assert all(r.keys_fetched == HEADS * 31 for r in step)
    assert not np.array_equal(whole[-1], limited[-1])


def test_values_of_a_prompt_are_pruned_if_prompts_are_alone(device: Device) -> None:
    model, ids = sharp_gpt2(GPT2Model), tokens(1, 30)
    digests = {}
    for kind in ({}, {"values": 0.5}, {"value_share": 0.2}):
        for pruned in (False, True):
            with spatten.attach(
                model, schedule=Schedule(prune_prefill=pruned, **kind), device=device
            ) as session:
                fed(model, [ids])
            digests[(*kind, pruned)] = session.record.digest
    assert digests["values", False] == digests["value_share", False] == digests[False,] == digests[True,]
    assert len({digests[True,], digests["values", True], digests["value_share", True]}) == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"value_share": 0.01},
            "schedule 'mine': value_share is 0.01; {} speaks contract 1.0, which has none. Load a bitstream "
            "of 1.1, or set it to 0",
        ),
        ({"quantization": Quantization.by_key()}, "speaks contract 1.0"),
    ],
    ids=["values above a share", "by key"],
)
def test_a_device_of_contract_1_0_refuses_before_anything_runs(given: dict[str, Any], said: str) -> None:
    old, model = Emulator(AcceleratorConfig(abi_minor=0)), sharp_gpt2(GPT2Model)
    with pytest.raises(SpattenError) as refused:
        spatten.attach(model, schedule=Schedule(name="mine", **given), device=old)
    assert said.format(old) in str(refused.value)
    with spatten.attach(model, schedule=Schedule(values=0.5), device=old) as session:
        model(tokens(1, 5))
    assert len(session.record.layers) == LAYERS


def test_sequence_that_split_goes_on_as_if_alone(device: Device) -> None:
    model, ids, schedule = sharp_gpt2(GPT2Model), tokens(2, 20), GENERATIONS["importance that decays"]
    ends = tokens(2, 4, seed=2)
    with spatten.attach(model, schedule=schedule, device=device) as session:
        cache = DynamicCache()
        model(ids, past_key_values=cache)
        cache.reorder_cache(torch.tensor([1, 1]))
        session.reset_record()
        for column in range(4):
            model(ends[:, column : column + 1], past_key_values=cache)
        split = session.record.layers
        for row in range(2):
            session.reset_record()
            fed(model, [ids[1:], *ends[row : row + 1].split(1, dim=1)])
            alone = [record for record in session.record.layers if record.step]
            mine = [record for record in split if record.row == row]
            assert [(r.keys, r.heads) for r in mine] == [(r.keys, r.heads) for r in alone]


@pytest.mark.parametrize("way", [{"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}], ids=str)
def test_pruned_generation_of_a_padded_batch_reads_less(way: dict[str, Any], device: Device) -> None:
    model, ids = sharp_gpt2(), tokens(2, 20)
    mask = torch.stack([torch.arange(20) >= 0, torch.arange(20) >= 9]).long()
    with spatten.attach(model, schedule=GENERATIONS["prompt read whole"], device=device) as session:
        torch.manual_seed(0)
        written = model.generate(ids * mask, attention_mask=mask, max_new_tokens=8, **way)
    last = [r for r in session.record.layers if (r.step, r.layer) == (7, 3)]
    assert written.shape[1] == 28
    assert {(r.slots, len(r.keys)) for r in last} == {(27, 8), (18, 5)}


# ------------------------------------------------------------------------------- protection and bits


def survivors(model: PreTrainedModel, device: Device, **options: Any) -> list[int]:
    schedule = Schedule(tokens=(1.0, 0.4, 0.3, 0.2), **options)
    with spatten.attach(model, schedule=schedule, device=device) as session:
        model(tokens(1, 40))
    return list(session.record.layers[-1].keys)


@pytest.mark.parametrize("make", [sharp_bert, sharp_gpt2])
def test_protected_tokens_survive_and_others_take_their_chance(make: Any, device: Device) -> None:
    front, back = {0, 1, 2}, {36, 37, 38, 39}
    free = survivors(make(), device, protect_first=0, protect_last=0)
    assert not front | back <= set(free)
    shielded = survivors(make(), device, protect_first=3, protect_last=4)
    assert front | back <= set(shielded)
    assert len(shielded) == len(free) == 8


def test_causal_model_always_keeps_the_token_it_predicts_from(device: Device) -> None:
    schedule = Schedule(tokens=0.01, protect_first=0, protect_last=0, min_tokens=0)
    with spatten.attach(model := sharp_gpt2(), schedule=schedule, device=device) as session:
        model(tokens(1, 20))
    assert [record.keys for record in session.record.layers[1:]] == [(19,)] * 3


def test_smallest_ratio_still_keeps_one_token_and_one_head(device: Device) -> None:
    schedule = Schedule(tokens=1e-9, heads=1e-9, values=1e-9, protect_first=0, protect_last=0, min_tokens=0)
    with spatten.attach(model := sharp_bert(), schedule=schedule, device=device) as session:
        assert torch.isfinite(model(tokens(1, 20))[0]).all()
    assert {(len(r.keys), len(r.heads)) for r in session.record.layers[1:]} == {(1, 1)}


def test_protection_goes_before_the_ratio(device: Device) -> None:
    kept = survivors(sharp_bert(), device, protect_first=10, protect_last=10)
    assert kept == [*range(10), *range(30, 40)]


def run_all(device: Device) -> tuple[list[torch.Tensor], list[str]]:
    states, digests = [], []
    for make, name in ((sharp_bert, "paper-bert"), (sharp_gpt2, "paper-gpt2")):
        model = make()
        with spatten.attach(model, schedule=name, device=device) as session:
            states.append(model(tokens(2, 40))[0])
            if make is sharp_gpt2:
                states.append(
                    model.generate(tokens(2, 20), attention_mask=torch.ones(2, 20), max_new_tokens=6)
                )
            digests.append(session.record.digest)
    return states, digests


def test_same_run_twice_gives_the_same_bits(device: Device, device_uri: str) -> None:
    with open_device(device_uri) as other:
        first, second, third = (run_all(d) for d in (device, device, other))
    for again in (second, third):
        assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))
        assert again[1] == first[1]


def test_nothing_is_read_before_it_was_synchronised(device: Device) -> None:
    with Emulator(device.config, debug=True) as watched:  # bytes depend on the configuration
        given, expected = run_all(watched), run_all(device)
    assert given[1] == expected[1]
    assert all(torch.equal(a, b) for a, b in zip(given[0], expected[0], strict=True))


def test_session_keeps_no_state_between_calls(device: Device) -> None:
    model = sharp_bert()

    def call(session: Session, seed: int) -> str:
        session.reset_record()
        model(tokens(1, 30, seed))
        return session.record.digest

    with spatten.attach(model, schedule="paper-bert", device=device) as session:
        first, other, again = (call(session, seed) for seed in (1, 2, 1))
    assert first == again != other


def test_longer_inputs_are_pruned_more_by_the_papers_rule(device: Device) -> None:
    model, shares = sharp_bert(BertModel), []
    with spatten.attach(model, schedule="paper-bert", device=device) as session:
        for length in (16, 32, 64):
            session.reset_record()
            model(tokens(1, length))
            shares.append(len(session.record.layers[-1].keys) / length)
    assert shares[0] > shares[1] > shares[2]
