# SPDX-License-Identifier: BSD-2-Clause
"""The oracle against independent knowledge: float softmax, sorting, bytes counted by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .corners import CORNERS, SMALL, STREAM
from .decode import Result, decode
from .generator import NEVER, random_spec
from .jobs import HeadSpec, JobImage, JobSpec, Widths, build
from .oracle import run_job, trace_job, visible_slots
from .oracle_checks import check
from .oracle_format import Status
from .oracle_memory import SLOT_MASK, Descriptor, read_row, read_words
from .oracle_row import MAX_EXPONENT, Row, greatest, reciprocal, round_shift, weight

specs = st.randoms(use_true_random=False).map(random_spec)


def run(spec: JobSpec) -> tuple[JobImage, Result]:
    """Build and run a job that must end well."""
    image = build(spec)
    assert run_job(image.memory, image.descriptor_address, image.config) == Status.DONE
    return image, decode(image.memory, image.descriptor_address, image.config.beat_bytes)


# -- arithmetic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "n", "rounded"), [(5, 0, 5), (5, 1, 3), (-5, 1, -2), (6, 2, 2), (-6, 2, -1), (-7, 2, -2), (7, 4, 0)]
)
def test_round_shift_rounds_half_up(a: int, n: int, rounded: int) -> None:
    """Also for negative numbers, where half up is towards zero."""
    assert round_shift(a, n) == rounded


def test_weight_is_an_exponential() -> None:
    """Within two units of 65535 * 2^-x (one of interpolation, two halves of rounding), never rising."""
    weights = [weight(x) for x in range(MAX_EXPONENT + 1)]
    assert max(abs(w - 65535 * 2 ** (-x / 4096)) for x, w in enumerate(weights)) < 2
    assert weights == sorted(weights, reverse=True)
    assert (weights[0], weights[-1]) == (65535, 0)


@given(total=st.integers(65535, 1024 * 65535))
def test_reciprocal(total: int) -> None:
    """R is 17 bits or just above, and exact to 2^-16."""
    z, recip = reciprocal(total)
    assert 1 << 16 <= recip <= 131074
    assert 0 <= 1 - recip * total / 2 ** (33 + z) < 2**-16


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=30), count=st.integers(1, 40))
def test_greatest_by_removal(values: list[int], count: int) -> None:
    """The same as taking the first maximum again and again."""
    left = dict(enumerate(values))
    taken: list[int] = []
    while left and len(taken) < count:
        best = next(index for index in left if left[index] == max(left.values()))
        taken.append(best)
        del left[best]
    assert greatest(values, count) == sorted(taken)


# -- whole jobs against float softmax ----------------------------------------------------------------------


def float_attention(memory: bytearray, job: Descriptor, head: int, query: int) -> list[float]:
    """Softmax attention in float, of both planes of every visible key, for the `head`-th live head."""
    head_spec, slots = job.heads()[head], visible_slots(job, job.query_slots()[query])
    q_at = job["q_address"] + (head * job["n_queries"] + query) * job.row(job["q_bits"])
    q = read_row(memory, q_at, job["head_dim"], job["q_bits"], True)
    k, v = ([_integers(memory, job, name, head_spec.head_id, slot) for slot in slots] for name in "kv")
    octave = head_spec.score_mult / 2**head_spec.score_shift / 4096
    scores = [octave * math.fsum(a * b for a, b in zip(q, row, strict=True)) for row in k]
    powers = [2 ** (score - max(scores)) for score in scores]
    return [
        math.fsum(p * row[d] for p, row in zip(powers, v, strict=True)) / sum(powers) for d in range(len(q))
    ]


def _integers(memory: bytearray, job: Descriptor, operand: str, head_id: int, slot: int) -> list[int]:
    """A K or V row with both its planes."""

    def plane(name: str, signed: bool) -> list[int]:
        width = job[f"{name}_bits"]
        place = job[f"{name}_address"] + head_id * job[f"{name}_stride"] + slot * job.row(width)
        return read_row(memory, place, job["head_dim"], width, signed)

    high = plane(f"{operand}_msb", True)
    low = plane(f"{operand}_lsb", False)
    return [16 * a + b for a, b in zip(high, low, strict=True)]


@given(
    seed=st.integers(0, 2**32 - 1),
    mult=st.integers(1000, 65535),
    causal=st.booleans(),
    widths=st.sampled_from(
        [Widths(8, 6, 4, 6, 4, 1, 1), Widths(8, 8, 4, 8, 4, 2, 1), Widths(6, 12, 4, 12, 4, 1, 1)]
    ),
)
def test_outputs_are_softmax_attention(seed: int, mult: int, causal: bool, widths: Widths) -> None:
    """With both planes and all values used, outputs are the float mean to 0.2 % of full scale."""
    shift = 6 + widths.k_msb + widths.q - 4
    spec = replace(
        SMALL,
        seed=seed,
        causal=causal,
        widths=widths,
        heads=(HeadSpec(1, shift, mult), HeadSpec(3, shift, mult // 2)),
        refetch_limit=0,
        keep_values=9,
    )
    image, result = run(spec)
    job = Descriptor(image.memory, image.descriptor_address, image.config.beat_bytes)
    scale = 2.0 ** (16 - widths.v_msb - widths.v_lsb)
    for head in range(2):
        for query in range(3):
            exact = float_attention(image.memory, job, head, query)
            errors = [abs(o - scale * e) for o, e in zip(result.outputs[head][query], exact, strict=True)]
            assert max(errors) < 65.536


@given(spec=specs)
def test_probabilities_sum_to_one(spec: JobSpec) -> None:
    """The gains of each row sum to 2^36 within 2^-14, whatever was dropped."""
    image = build(spec)
    for rows in trace_job(image.memory, check(image.memory, image.descriptor_address, image.config)):
        for row in rows:
            assert sum(row.gains) == pytest.approx(2**36, rel=2**-14)


def test_single_key_returns_its_value() -> None:
    """One key has probability 1: the output is its value, scaled by 2^fo, and no more than rounding off."""
    spec = CORNERS["one_of_each"][1]
    image, result = run(spec)
    job = Descriptor(image.memory, image.descriptor_address, image.config.beat_bytes)
    value = _integers(image.memory, job, "v", 0, 0)
    scaled = [2 ** (16 - 10) * v for v in value]
    assert all(abs(o - s) <= 1 for o, s in zip(result.outputs[0][0], scaled, strict=True))
    assert result.token_importance == [4096]
    assert result.tokens == [0]


# -- pruning -------------------------------------------------------------------------------------------------


@given(spec=specs)
def test_survivors(spec: JobSpec) -> None:
    """Counts are exact, order ascends, nobody who survives is less preferred than one who does not."""
    _, result = run(spec)
    slots = [word & SLOT_MASK for word in result.tokens]
    assert len(slots) == spec.keep_tokens
    assert slots == sorted(set(slots) & set(spec.keys))
    assert {word & SLOT_MASK for word in result.tokens if word >> 15} == spec.protected
    for dropped in set(spec.keys) - set(slots):
        for kept in set(slots) - spec.protected:
            assert (result.token_importance[dropped], -dropped) < (result.token_importance[kept], -kept)


@given(spec=specs)
def test_surviving_heads(spec: JobSpec) -> None:
    """As sorting by importance and then by the lower id says."""
    _, result = run(spec)
    ids = [head.head_id for head in spec.heads]
    ranked = sorted((-result.head_importance[head_id], head_id) for head_id in ids)
    assert result.heads == sorted(head_id for _, head_id in ranked[: spec.keep_heads])


def test_equal_importance_keeps_lower_slots() -> None:
    """Equal keys, nothing before: the first four stay, and the gain is one ninth of a token for each row."""
    _, result = run(CORNERS["equal_scores"][1])
    assert result.tokens == [0, 1, 2, 3]
    assert result.token_importance == [round(12 * 4096 / 9)] * 9  # 4 heads x 3 queries


def test_saturation() -> None:
    """Importance stops at its greatest number, and of those who got there the lower slots survive."""
    spec = CORNERS["token_saturation"][1]
    _, tokens = run(spec)
    full = [slot for slot in spec.keys if tokens.token_importance[slot] == 2**32 - 1]
    assert len(full) > spec.keep_tokens
    assert tokens.tokens == full[: spec.keep_tokens]
    _, heads = run(CORNERS["head_saturation"][1])
    assert heads.head_importance[0] == 2**48 - 1
    assert heads.head_importance[3] < 2**48 - 1


def test_refetch_limits() -> None:
    """0 redoes every row, 2^32 - 1 none, 65535 all but those of a single weight."""
    counts = {
        name: run(CORNERS[name][1])[1].fields["refetched_rows"] for name in CORNERS if "refetch_" in name
    }
    assert counts["refetch_every_row"] == 12
    assert counts["refetch_no_row"] == 0
    assert counts["refetch_unless_certain"] == 3
    assert 0 < counts["refetch_some_rows"] < 12


@given(spec=specs, limit=st.integers(0, 65535))
def test_values_reach_the_limit(spec: JobSpec, limit: int) -> None:
    """Every kept value does, the best is kept, and what reaches it is left out for its number alone."""
    image = build(replace(spec, value_limit=limit, config=replace(spec.config, abi_minor=1)))
    for rows in trace_job(image.memory, check(image.memory, image.descriptor_address, image.config)):
        for row in rows:
            weights = row.passes[-1].weights
            kept = [weights[j] for j in row.kept]
            assert max(kept) == 65535
            assert min(kept) >= limit
            assert len(kept) == min(spec.keep_values, len([e for e in weights if e >= limit]))


# -- refetch by key ------------------------------------------------------------------------------------------

likely = st.builds(
    lambda seed, shift, name: replace(CORNERS[name][1], seed=seed, refetch_shift=shift),
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from(("by_key_likely", "by_key_overtaken", "by_key_widest")),
)


@given(spec=likely)
def test_keys_not_read_stand_for_their_middle(spec: JobSpec) -> None:
    """The same exponents from whole integers, in which an LSB plane that is not read is 8."""
    image = build(spec)
    job = check(image.memory, image.descriptor_address, image.config)
    for i, (row,) in enumerate(trace_job(image.memory, job)):
        head, slots = job.heads()[i], visible_slots(job, job.query_slots()[0])
        q_at = job["q_address"] + i * job.row(job["q_bits"])
        q = read_row(image.memory, q_at, job["head_dim"], job["q_bits"], True)
        whole = [_integers(image.memory, job, "k", head.head_id, slot) for slot in slots]
        middle = [[k // 16 * 16 + 8 for k in key] for key in whole]
        used = [whole[j] if j in row.redone else middle[j] for j in range(len(slots))]
        scores = [sum(a * b for a, b in zip(q, key, strict=True)) for key in used]
        best = max(scores[j] for j in row.redone or range(len(slots)))
        steps = [max(0, best - s) * head.score_mult / 2**head.score_shift for s in scores]
        assert row.passes[-1].exponents == [min(math.floor(x + 0.5), MAX_EXPONENT) for x in steps]


def rows_of_step(spec: JobSpec) -> list[Row]:
    """The one row of each head."""
    image = build(spec)
    traced = trace_job(image.memory, check(image.memory, image.descriptor_address, image.config))
    return [row for (row,) in traced]


@given(spec=likely)
def test_likely_keys(spec: JobSpec) -> None:
    """Those whose share of the first sum is above 2^-shift; a second pass runs where there are any."""
    for row in rows_of_step(spec):
        first = row.passes[0]
        shares = [Fraction(e, first.total) for e in first.weights]
        assert row.redone == [j for j, p in enumerate(shares) if p > Fraction(1, 1 << spec.refetch_shift)]
        assert row.refetched == bool(row.redone)


def test_likely_keys_of_the_corners() -> None:
    """Some, none, or all of nine keys in both heads."""
    names = ("by_key_likely", "by_key_none", "by_key_all")
    some, none, whole = ([len(row.redone) for row in rows_of_step(CORNERS[name][1])] for name in names)
    assert all(0 < count < 9 for count in some)
    assert (none, whole) == ([0] * 2, [9] * 2)


def test_overtaken_keys() -> None:
    """Keys that stand above the best of those that refetched weigh as much as it, not more."""
    rows = rows_of_step(CORNERS["by_key_overtaken"][1])
    above = [
        [
            j
            for j, s in enumerate(row.passes[1].scores)
            if s > max(row.passes[1].scores[i] for i in row.redone)
        ]
        for row in rows
    ]
    assert any(above)
    for row, ahead in zip(rows, above, strict=True):
        assert all(row.passes[1].weights[j] == 65535 for j in ahead)
        assert not {*ahead} & {*row.redone}


# -- memory and bytes ---------------------------------------------------------------------------------------


WRITTEN = ("output", "token_importance", "head_importance", "answer")


@given(spec=specs)
def test_nothing_else_is_written(spec: JobSpec) -> None:
    """Operands, descriptor and guard bytes stay as they were."""
    before = build(spec)
    after, _ = run(spec)
    for name in WRITTEN:
        start, size = before.regions[name]
        before.memory[start : start + size] = after.memory[start : start + size]
    assert before.memory == after.memory


@given(spec=specs)
def test_importance_of_others(spec: JobSpec) -> None:
    """Words of slots and heads that are not live stay when adding, and are cleared when not."""
    before, (_, result) = build(spec), run(spec)
    starts = {name: before.regions[f"{name}_importance"][0] for name in ("token", "head")}
    old_tokens = read_words(before.memory, starts["token"], spec.n_slots, 4)
    old_heads = read_words(before.memory, starts["head"], spec.total_heads, 8)
    for slot in set(range(spec.n_slots)) - set(spec.keys):
        assert result.token_importance[slot] == (old_tokens[slot] if spec.add_tokens else 0)
    for head_id in set(range(spec.total_heads)) - {head.head_id for head in spec.heads}:
        assert result.head_importance[head_id] == (old_heads[head_id] if spec.add_heads else 0)


def counted(spec: JobSpec) -> dict[str, int]:
    """The counters of a job."""
    return run(spec)[1].fields


def test_bytes_in_reuse_mode() -> None:
    """Counted by hand: 4 heads, 3 queries, 9 keys, D = 32, 16-byte beats, q 8 bits, K and V 6 + 4 bits.

    A 6-bit row has 24 bytes and lies in 32, a 4-bit row has 16; V is ALWAYS, K refetches everywhere.
    The buffer holds exactly the nine rows.
    """
    config = replace(SMALL.config, kv_buffer_rows=9)
    fields = counted(replace(SMALL, config=config, refetch_limit=0, keep_values=2, add_tokens=True))
    assert {name: fields[name] for name in ("keys_fetched", "values_fetched")} == {
        "keys_fetched": 36,
        "values_fetched": 36,
    }
    assert [fields[f"read_{p}"] for p in ("q", "k_msb", "k_lsb", "v_msb", "v_lsb")] == [
        384,
        1152,
        576,
        1152,
        576,
    ]
    assert fields["read_importance"] == 48  # 9 words of 4 bytes, padded
    assert fields["read_control"] == 256 + 32 + 32 + 16
    assert fields["written_output"] == 12 * 64
    assert fields["written_importance"] == 48 + 32
    assert fields["written_control"] == 256 + 16 + 16


def test_one_refetch_loads_all_lsb_rows_of_the_head() -> None:
    """In reuse mode a head whose rows all stay certain loads no LSB row, the other one all of K and V."""
    spec = CORNERS["refetch_unless_certain"][1]
    fields = counted(replace(spec, refetch_limit=3 * 65535, seed=1))
    assert fields["refetched_rows"] == 2
    assert fields["read_k_lsb"] == fields["read_v_lsb"] == 9 * 16


def test_padding_is_written_as_zero() -> None:
    """Behind outputs, importance and the two lists of the answer, up to the end of the last 64-byte beat."""
    spec = CORNERS["odd_lengths"][1]
    image, _ = run(spec)
    used = {"token_importance": 4 * spec.n_slots, "head_importance": 8 * spec.total_heads}
    for name, n_bytes in used.items():
        start, size = image.regions[name]
        assert set(image.memory[start + n_bytes : start + size]) == {0}
    start, _ = image.regions["answer"]
    assert set(image.memory[start + 256 + 2 * spec.keep_tokens : start + 320]) == {0}
    assert set(image.memory[start + 320 + 2 * spec.keep_heads : start + 384]) == {0}


def test_bytes_in_stream_mode() -> None:
    """The same job with a buffer of two rows, causal: queries see 3, 6 and 9 keys and keep 2 values each."""
    fields = counted(
        replace(SMALL, config=STREAM, causal=True, refetch_limit=NEVER, keep_values=2, add_heads=True)
    )
    assert fields["keys_fetched"] == 4 * (3 + 6 + 9)
    assert fields["values_fetched"] == 4 * 3 * 2
    assert [fields[f"read_{p}"] for p in ("k_msb", "k_lsb", "v_msb", "v_lsb")] == [
        72 * 32,
        0,
        24 * 32,
        24 * 16,
    ]
    assert fields["read_importance"] == 32


def test_bytes_of_likely_keys() -> None:
    """Two heads, nine keys, D = 32, 16-byte beats: a row of 4 bits has 16 bytes, of 6 bits 32."""
    spec = CORNERS["by_key_value_limit"][1]
    image = build(spec)
    rows = [
        r for (r,) in trace_job(image.memory, check(image.memory, image.descriptor_address, image.config))
    ]
    redone, kept = sum(len(row.redone) for row in rows), sum(len(row.kept) for row in rows)
    fields = counted(spec)
    assert 2 < redone < 18
    assert 2 < kept < 18
    assert [fields[n] for n in ("refetched_rows", "keys_fetched", "values_fetched")] == [2, 18, kept]
    assert [fields[f"read_{p}"] for p in ("k_msb", "k_lsb", "v_msb", "v_lsb")] == [
        18 * 16,
        redone * 16,
        kept * 32,
        0,
    ]


def test_one_query_streams() -> None:
    """A single query has nothing to reuse: values that local pruning drops are not fetched."""
    fields = counted(CORNERS["one_query"][1])
    assert fields["keys_fetched"] == 4 * 9
    assert fields["values_fetched"] == 4 * 4


@pytest.mark.parametrize("name", CORNERS)
def test_corner_ends_well(name: str) -> None:
    """Every corner is a legal job."""
    _, result = run(CORNERS[name][1])
    assert result.fields["status"] == Status.DONE


def test_builder_is_deterministic() -> None:
    """The same seed draws the same job and lays out the same bytes."""
    images = [build(random_spec(random.Random(3))) for _ in range(2)]
    assert images[0] == images[1]
