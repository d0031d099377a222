# SPDX-License-Identifier: BSD-2-Clause
"""Rules of reading: bytes by hand, bounds that bound, and what a device knows read as the device does."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spatten
from spatten.catalog import load
from spatten.quality.subject import Subject
from spatten.rules.decode import FLOAT, Reading, read_windows
from spatten.rules.families import FAMILIES, Family
from spatten.rules.keys import ByKey, ByKeyShift, ByRow, EarlyStop, Sight, Whole
from spatten.rules.merge import Merge, alike, nearest
from spatten.rules.planes import Layout, Rows
from spatten.rules.rule import Rule, visible
from spatten.rules.sweep import choices
from spatten.rules.values import Above, Top, Weighty
from spatten_drivers import Device, Quantization
from tests.host.tiny_models import tiny_gpt2

DIM = 32
SEEDS = st.integers(0, 2**31)
EIGHT, PLANES, THREE = Layout((8,)), Layout((4, 4)), Layout((4, 4, 4))


def rows(seed: int, count: int = 12, heads: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three queries, keys and values in double precision, so that nothing below hides in float32."""
    torch.manual_seed(seed)
    whole = torch.randn(3, heads, count, DIM, dtype=torch.double) * 2
    return whole[0][:, -3:], whole[1], whole[2]


def sight(query: torch.Tensor, key: torch.Tensor, layout: Layout) -> Sight:
    keys = Rows.of(key, layout)
    seen = visible(query.shape[1], key.shape[1])
    return Sight(
        torch.round(query * 100), keys, keys.scale[:, None, :].expand(-1, query.shape[1], -1) / 400, seen
    )


def softmax(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    seen = visible(query.shape[1], key.shape[1])
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)


@pytest.mark.parametrize(
    ("layout", "depth", "expected"),
    [
        (Layout((8,)), [[1, 1, 1, 1]], 4 * 32),
        (Layout((6, 4)), [[2, 1, 1, 0]], 3 * 32 + 1 * 16),  # 24 bytes of 6 bits stand in two beats
        (Layout((4, 4, 4)), [[3, 2, 1, 1]], (4 + 2 + 1) * 16),
        (Layout((4,), exponent_bits=2), [[1, 0, 0, 0]], 16 + 16),  # four exponents, a byte, in a beat
        (Layout((4,), exponent_bits=4), [[1] * 40], 40 * 16 + 32),  # 40 exponents, 20 bytes
    ],
    ids=["one plane", "two planes", "three planes", "exponents", "exponents of two beats"],
)
def test_bytes_by_hand(layout: Layout, depth: list[list[int]], expected: int) -> None:
    read = torch.tensor([depth])
    count = read.shape[-1]
    found = Rows.of(torch.ones(1, count, DIM), layout).bytes(read, torch.ones(1, count, dtype=torch.bool))
    assert found == expected


def test_bytes_of_a_whole_rule_by_hand() -> None:
    """Two heads, three queries that see 10, 11 and 12 keys; K whole, half of the values, and the mean."""
    rule = Rule(EIGHT, values=Top(0.5), rest="mean")
    _, read = rule.attend(*rows(0), 0.1)
    keys, values = 10 + 11 + 12, 5 + 6 + 6
    assert read == 2 * (keys * 32 + values * 32 + 3 * 64)


def test_planes_together_are_the_integer_and_apart_its_floor_or_middle() -> None:
    held = Rows(PLANES, torch.tensor([[[-128.0, -1.0, 0.0, 37.0]]]), torch.ones(1, 1))
    assert held.upto(2, middle=False).tolist() == [[[-128.0, -1.0, 0.0, 37.0]]]
    assert held.upto(1, middle=False).tolist() == [[[-128.0, -16.0, 0.0, 32.0]]]
    assert held.upto(1, middle=True).tolist() == [[[-120.0, -8.0, 8.0, 40.0]]]


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("seed", range(5))
def test_exponents_never_round_worse(seed: int, bits: int) -> None:
    exact = rows(seed)[1] * torch.logspace(-2, 1, 12, dtype=torch.double)[:, None]
    static, own = (Rows.of(exact, Layout((bits,), exponent)) for exponent in (0, 2))
    wrong = [(r.integers * r.scale[..., None] - exact).abs().amax(dim=-1) for r in (static, own)]
    assert (own.scale <= static.scale).all()
    assert (wrong[1] <= own.scale / 2 * (1 + 1e-9)).all()
    assert (torch.log2(static.scale / own.scale) % 1 == 0).all()


@given(SEEDS)
def test_the_bound_bounds_whatever_the_bits_not_read_are(seed: int) -> None:
    look = sight(*rows(seed)[:2], THREE)
    exact = look.scores(3)
    for depth in (1, 2, 3):
        partial = look.scores(depth)
        down, up = look.slack(depth)
        assert (exact <= partial + up + 1e-9)[:, look.seen].all()
        assert (exact >= partial - down - 1e-9)[:, look.seen].all()


@given(SEEDS, st.sampled_from([0.001, 0.01, 0.05]))
def test_an_early_stop_gives_up_no_key_at_or_above_the_threshold(seed: int, threshold: float) -> None:
    query, key, _ = rows(seed)
    look = sight(query, key, THREE)
    left = EarlyStop(threshold)(look).scores.isfinite()
    likely = look.scores(3).softmax(dim=-1) > threshold
    assert (left | ~likely).all()
    assert left.any(dim=-1).all()


def test_an_early_stop_of_the_largest_gives_up_no_key_at_or_above_the_share() -> None:
    for seed in range(20):
        query, key, _ = rows(seed)
        look = sight(query, key, THREE)
        left = EarlyStop(0.02, "largest")(look).scores.isfinite()
        exact = look.scores(3)
        assert (left | (exact < exact.amax(dim=-1, keepdim=True) + math.log(0.02) + 1e-9)).all()


def test_an_early_stop_reads_fewer_planes_and_values() -> None:
    query, key, value = rows(3, count=200)
    rule = Rule(THREE, EarlyStop(0.003))
    out, read = rule.attend(query * 2, key, value, 0.2)
    dense, whole = Rule(Layout((12,))).attend(query * 2, key, value, 0.2)
    assert read < whole / 2
    torch.testing.assert_close(out, dense, atol=0.15, rtol=0)


@pytest.mark.parametrize(
    "keys",
    [EarlyStop(0.0), EarlyStop(0.0, "largest"), ByRow(1.0), ByKey(0.0), ByKey(0.0, "largest"), Whole()],
    ids=["early stop", "early stop of the largest", "by row", "by key", "by key of the largest", "whole"],
)
@pytest.mark.parametrize("layout", [THREE, Layout((8, 4))], ids=str)
def test_thresholds_that_read_everything_give_the_dense_answer(keys: object, layout: Layout) -> None:
    out, read = Rule(layout, keys).attend(*rows(1), 0.2)
    dense, whole = Rule(Layout((12,))).attend(*rows(1), 0.2)
    torch.testing.assert_close(out, dense)
    assert read == whole * (3 * 16 if layout == THREE else 48) / 48


def test_twelve_bits_are_softmax_but_for_rounding() -> None:
    out, _ = Rule(Layout((12,))).attend(*rows(2), DIM**-0.5)
    torch.testing.assert_close(out, softmax(*rows(2)), atol=0.02, rtol=0)


def test_by_key_refetches_the_likely_keys_alone() -> None:
    query, key, _ = rows(4)
    look = sight(query, key, PLANES)
    found = ByKey(0.1)(look)
    likely = look.scores(1, middle=True).softmax(dim=-1) >= 0.1
    assert 0 < int(likely.sum()) < int(look.seen.sum()) * 2
    assert torch.equal(found.depth, look.seen * (1 + likely.long()))


def test_by_key_as_built_is_integers_as_the_contract_has_them() -> None:
    """Against the words of section 4: MSBs, a share of the sum, rests less 8, distances from zero on."""
    query, key, _ = rows(4)
    look = sight(query * 2, key, PLANES)
    found = ByKeyShift(4)(look)
    msb = torch.floor(look.keys.integers / 16)
    lsb = look.keys.integers - 16 * msb
    mixed = 0
    for head, row in product(range(2), range(3)):
        seen = look.seen[row]
        units = look.unit[head, row][seen]
        first = (16 * msb[head] @ look.query[head, row])[seen]
        weights = torch.exp((first - first.max()) * units)
        again = weights > weights.sum() / 16
        second = first + again * ((lsb[head] - 8) @ look.query[head, row])[seen]
        if again.any():
            second = second.clamp(max=second[again].max())
        mixed += 0 < int(again.sum()) < len(again)
        torch.testing.assert_close(
            found.scores[head, row][seen].softmax(dim=-1), (second * units).softmax(dim=-1)
        )
        assert torch.equal(found.depth[head, row][seen], 1 + again.long())
    assert mixed >= 3


def test_by_key_as_built_without_a_likely_key_stays_with_msbs() -> None:
    """Keys all alike: none is above its share, and every weight is the same."""
    query, key, _ = rows(4)
    look = sight(query, torch.ones_like(key), PLANES)
    found = ByKeyShift(1)(look)
    assert torch.equal(found.depth, look.seen.expand_as(look.unit).long())
    torch.testing.assert_close(found.scores.softmax(dim=-1), look.scores(2).softmax(dim=-1))


def test_values_of_one_plane_are_read_once_whatever_is_read_of_their_keys() -> None:
    query, key, value = rows(7)
    rule = Rule(PLANES, ByKeyShift(4), v_layout=EIGHT)
    _, read = rule.attend(query, key, value, 0.3)
    k_alone = read - 2 * (10 + 11 + 12) * 32
    again, rest = divmod(k_alone - 2 * (10 + 11 + 12) * 16, 16)
    assert rest == 0
    assert 0 < again < 2 * (10 + 11 + 12)


def test_values_above_a_share_are_those_and_the_best_alone_at_one() -> None:
    found = Whole()(sight(*rows(5)[:2], EIGHT))
    weights = found.scores.softmax(dim=-1)
    best = weights.amax(dim=-1, keepdim=True)
    assert torch.equal(Above(0.1, "largest")(found), weights >= 0.1 * best)
    assert torch.equal(Above(1.0, "largest")(found), weights == best)
    assert torch.equal(Above(0.2)(found), (weights >= 0.2) | (weights == best))


@pytest.mark.parametrize("rest", ["shared", "mean"])
def test_the_rest_keeps_the_weights_a_whole(rest: str) -> None:
    """Values that are all the same come out as they are, however many of them are read."""
    query, key, _ = rows(6)
    value = torch.ones_like(key)
    out, _ = Rule(EIGHT, values=Top(0.3), rest=rest).attend(query, key, value, 0.1)
    less, _ = Rule(EIGHT, values=Top(0.3)).attend(query, key, value, 0.1)
    torch.testing.assert_close(out, torch.ones_like(out))
    assert (less < 0.99).all()


KNOWN = {
    "8 bit, half of the values": (
        {"quantization": Quantization(k_msb_bits=8, v_msb_bits=8), "values": 0.5},
        Rule(EIGHT, values=Top(0.5)),
    ),
    "8 bit, values above a share": (
        {"quantization": Quantization(k_msb_bits=8, v_msb_bits=8), "value_share": 0.3},
        Rule(EIGHT, values=Above(0.3, "largest")),
    ),
    "12 bit": ({}, Rule(Layout((12,)))),
    "8+4 bit, all refetch": (
        {"quantization": Quantization.progressive(8, 4, 1.0)},
        Rule(Layout((8, 4)), ByRow(1.0)),
    ),
    "8+4 bit, by row": (
        {"quantization": Quantization.progressive(8, 4, 0.06)},
        Rule(Layout((8, 4)), ByRow(0.06)),
    ),
    "8+4 bit, by key, values above a share": (
        {"quantization": Quantization.by_key(8, 4, 1 / 32, 8), "value_share": 0.3},
        Rule(Layout((8, 4)), ByKeyShift(5), Above(0.3, "largest"), v_layout=EIGHT),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_device_knows_is_read_as_it_reads(
    name: str, device: Device, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes of generation steps equal the device's counters; predictions too, but for scales and rounding."""
    loaded = load(tiny_gpt2(tmp_path_factory.mktemp("gpt2")))
    loaded.model.transformer.h[0].attn.c_attn.weight.data *= 4.0
    window = np.random.default_rng(2).integers(1, 300, 40).tolist()
    options, rule = KNOWN[name]
    found = read_windows(loaded.model, [window], {("mine", ""): rule}, 6)["mine", ""]
    schedule = spatten.Schedule(**options, prune_prefill=False)
    with spatten.attach(loaded.model, schedule=schedule, device=device) as session:
        surprise = -Subject(loaded, session).log_probs(window, len(window) - 6).mean()
        steps = [layer for layer in session.record.layers if layer.step > 0]
    assert found.read == sum(layer.kv_bytes for layer in steps)
    assert found.dense_16 == sum(layer.dense_bytes_16 for layer in steps)
    assert found.surprise[0] == pytest.approx(surprise, abs=2e-3)
    if "share" in name:
        assert 0 < sum(layer.values_fetched for layer in steps) < sum(layer.keys_fetched for layer in steps)
    if "by key" in name:
        lsbs, keys = (sum(layer.counters[f"read_k_{plane}"] for layer in steps) for plane in ("lsb", "msb"))
        assert 0 < lsbs < keys / 2


def test_float_is_the_model_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load(tiny_gpt2(tmp_path_factory.mktemp("gpt2")))
    windows = np.random.default_rng(1).integers(1, 300, (2, 30)).tolist()
    found = read_windows(loaded.model, windows, {("fine", ""): Rule(Layout((12,)))}, 5)
    own = [-Subject(loaded).log_probs(window, 25).mean() for window in windows]
    np.testing.assert_allclose(found[FLOAT, ""].scores, own, atol=1e-5)
    assert found[FLOAT, ""].agreed == [1.0, 1.0]
    assert found["fine", ""].x16 == pytest.approx(4 / 3)


def test_the_choice_is_the_least_surprise_within_the_budget() -> None:
    family = Family("a", "", {"few": Rule(EIGHT), "many": Rule(EIGHT), "most": Rule(EIGHT)})
    found = {
        ("a", name): Reading([surprise], [1.0], read, 1000)
        for name, surprise, read in (("few", 5.0, 200), ("many", 4.0, 280), ("most", 3.0, 390))
    }
    chosen = choices(found, [family])
    wanted = {2.0: "most", 2.6: "many", 3.0: "many", 3.5: "many", 3.9: "few", 4.5: "few", 5.0: "few"}
    assert chosen == {("a", budget): name for budget, name in wanted.items()}


def test_names_of_rules_are_unlike_and_known_families_read_planes_that_a_device_has() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert len(set(map(repr, family.points.values()))) == len(family.points)
        if family.known:
            for rule in family.points.values():
                assert rule.layout.widths[1:] in ((), (4,))
                assert isinstance(rule.keys, Whole | ByRow | ByKeyShift)
                assert isinstance(rule.values, Weighty | Top) or rule.values.of == "largest"
                assert rule.rest == "zero"


STATES = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 2.0], [3.0, 0.0]]])
ALIVE = torch.tensor([[True, True, False, False, False]])
REAL = torch.tensor([[True, True, True, True, False]])  # the last column is padding


def test_partners() -> None:
    assert nearest(STATES, ALIVE)[0, :4].tolist() == [0, 1, 1, 1]
    assert alike(STATES, ALIVE)[0, :4].tolist() == [0, 1, 0, 1]


def test_merging_keeps_the_sum_of_all_states_and_counts_by_size() -> None:
    merge = Merge(alike)
    hidden = torch.zeros_like(STATES)
    first = merge(0, STATES, hidden, REAL, ALIVE)
    torch.testing.assert_close(first[0, :2], (STATES[0, :2] + STATES[0, 2:4]) / 2)
    torch.testing.assert_close(merge.spread(first)[0, :4].sum(dim=0), STATES[0, :4].sum(dim=0))
    assert torch.equal(first[0, 2:], hidden[0, 2:])
    last = merge(1, first, first, ALIVE, torch.tensor([[True, False, False, False, False]]))
    torch.testing.assert_close(last[0, 0], STATES[0, :4].mean(dim=0))
    assert merge.place[0, :4].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(merge.spread(last)[0, 3], STATES[0, :4].mean(dim=0))


def test_standing_for_others_leaves_a_survivor_as_it_is() -> None:
    merge = Merge(alike, mixes=False)
    states = merge(0, STATES, torch.zeros_like(STATES), REAL, ALIVE)
    assert torch.equal(states[0, :2], STATES[0, :2])
    assert torch.equal(merge.spread(states)[0, :4], STATES[0, [0, 1, 0, 1]])


def test_a_layer_that_prunes_nothing_merges_nothing() -> None:
    merge = Merge(nearest)
    assert torch.equal(merge(0, STATES, STATES, REAL, REAL)[0, :4], STATES[0, :4])
    assert merge.place[0].tolist() == [0, 1, 2, 3, 4]
