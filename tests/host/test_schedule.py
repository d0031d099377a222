# SPDX-License-Identifier: BSD-2-Clause
"""Schedules: the paper's rule by hand-computed numbers, counts, files, and every way to be told no."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten import Schedule, load_schedule, paper_schedule
from spatten.schedule import FRONT_HEADS, FRONT_TOKENS, interpolated
from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import ConfigError

RATIOS = st.floats(1e-3, 1.0)


# ------------------------------------------------------------------------------- the paper's rule


@pytest.mark.parametrize(
    ("average", "layers", "front", "expected"),
    [
        # ceil(0.15 * 12) = 2 whole layers; from min(1, 1.5 * 0.7) = 1 to 2 * 0.7 - 1 = 0.4, 9 steps of 1/15.
        (0.7, 12, FRONT_TOKENS, [1.0, 1.0] + [1.0 - i / 15 for i in range(10)]),
        # ceil(0.3 * 12) = 4 whole layers; from 1 to 0.8 in 7 steps.
        (0.9, 12, FRONT_HEADS, [1.0] * 4 + [1.0 - i * 0.2 / 7 for i in range(8)]),
        # Below an average of 2/3 the line starts at 1.5 times it and ends at half of it.
        (0.4, 6, FRONT_TOKENS, [1.0, 0.6, 0.5, 0.4, 0.3, 0.2]),
        (0.5, 4, FRONT_HEADS, [1.0, 1.0, 0.75, 0.25]),
        (1.0, 3, FRONT_TOKENS, [1.0, 1.0, 1.0]),
        # One pruned layer takes the average itself, and one layer always is one that may be pruned.
        (0.6, 2, FRONT_TOKENS, [1.0, 0.6]),
        (0.6, 1, FRONT_TOKENS, [0.6]),
        (0.6, 2, 1.0, [1.0, 0.6]),
    ],
)
def test_line_by_hand(average: float, layers: int, front: float, expected: list[float]) -> None:
    assert interpolated(average, layers, front) == pytest.approx(expected)


@given(average=RATIOS, layers=st.integers(1, 48), front=st.sampled_from([FRONT_TOKENS, FRONT_HEADS]))
def test_line_falls_from_whole_layers_with_the_average_that_was_asked_for(
    average: float, layers: int, front: float
) -> None:
    ratios = interpolated(average, layers, front)
    whole = next((i for i, ratio in enumerate(ratios) if ratio < 1.0), layers)
    assert len(ratios) == layers
    assert whole >= min(layers - 1, front * layers)
    assert all(0.0 < b <= a <= 1.0 for a, b in pairwise(ratios))
    pruned = ratios[min(layers - 1, math.ceil(front * layers)) :]
    assert sum(pruned) / len(pruned) == pytest.approx(average)
    assert pruned[0] + pruned[-1] == pytest.approx(2 * average)


def test_paper_schedule_leaves_15_percent_of_layers_whole_for_tokens_and_30_for_heads() -> None:
    made = paper_schedule(20, tokens=0.5, heads=0.5)
    assert [ratio == 1.0 for ratio in made.tokens] == [True] * 3 + [False] * 17
    assert [ratio == 1.0 for ratio in made.heads] == [True] * 6 + [False] * 14
    assert made.name == "paper"
    assert paper_schedule(20, name="mine", decay=0.5).decay == 0.5


@pytest.mark.parametrize(
    ("length", "average"),
    [(128, 0.7), (16, 1 - 0.3 * 4 / 7), (512, 1 - 0.3 * 9 / 7), (1, 1 - 0.3 / 7), (2**24, 0.1)],
)
def test_share_that_is_pruned_scales_with_the_logarithm_of_the_length(length: int, average: float) -> None:
    made = paper_schedule(12, tokens=0.7, length=length)
    assert sum(made.tokens[2:]) / 10 == pytest.approx(average)
    assert made.heads == paper_schedule(12, tokens=0.7).heads


@given(length=st.integers(1, 4096), more=st.integers(1, 4096), average=RATIOS)
def test_longer_inputs_never_keep_a_greater_share(length: int, more: int, average: float) -> None:
    short, long = (paper_schedule(6, tokens=average, length=n) for n in (length, length + more))
    assert all(b <= a + 1e-12 for a, b in zip(short.tokens, long.tokens, strict=True))


# ------------------------------------------------------------------------------- counts


def test_counts_are_rounded_half_up_by_hand() -> None:
    plan = Schedule(tokens=(1.0, 0.7, 0.25), heads=(1.0, 0.5, 0.1), values=0.3).plan(3)
    assert [plan.tokens(layer, 10) for layer in range(3)] == [10, 7, 3]  # 2.5 rounds up
    assert [plan.tokens(layer, 30) for layer in range(3)] == [30, 21, 8]  # 7.5 rounds up
    assert [plan.heads(layer, 12) for layer in range(3)] == [12, 6, 1]  # 1.2 rounds down
    assert [plan.values(0, keys) for keys in (1, 5, 10)] == [1, 2, 3]  # 0.3 would be none, 1.5 rounds up


def test_one_number_counts_for_every_layer() -> None:
    assert Schedule(tokens=0.5).plan(4).token_ratios == (0.5,) * 4
    assert Schedule(values=[0.1, 0.9]).plan(2).value_ratios == (0.1, 0.9)  # values may grow again


def test_floors_hold_against_the_ratio_but_not_against_the_length() -> None:
    plan = Schedule(tokens=0.01, min_tokens=5, protect_first=2, protect_last=1).plan(1)
    assert [plan.tokens(0, length) for length in (3, 5, 100, 1000)] == [3, 5, 5, 10]
    plan = Schedule(tokens=0.01, min_tokens=1, protect_first=4, protect_last=3).plan(1)
    assert plan.tokens(0, 100) == 7


@given(
    ratio=st.floats(0.0, 1.0, exclude_min=True),
    length=st.integers(1, 1024),
    floor=st.integers(0, 8),
    first=st.integers(0, 4),
)
def test_counts_stay_between_one_and_all(ratio: float, length: int, floor: int, first: int) -> None:
    plan = Schedule(
        tokens=ratio, heads=ratio, values=ratio, min_tokens=floor, protect_first=first, protect_last=0
    ).plan(1)
    assert 1 <= plan.tokens(0, length) <= length
    assert 1 <= plan.heads(0, 12) <= 12
    assert 1 <= plan.values(0, length) <= length
    assert abs(plan.values(0, length) - ratio * length) <= 0.5 + 1e-6 or plan.values(0, length) == 1


@given(share=st.floats(0, 1))
def test_value_limit_is_the_least_weight_that_reaches_the_share(share: float) -> None:
    limit = Schedule(value_share=share).plan(1).value_limit(0)
    assert limit >= share * 65535 - 1e-9
    assert limit == 0 or limit - 1 < share * 65535


@pytest.mark.parametrize("what", ["tokens", "heads", "values", "value_share"])
def test_a_plan_prunes_if_any_layer_loses_anything(what: str) -> None:
    whole = 0.0 if what == "value_share" else 1.0
    assert not Schedule(**{what: (whole, whole, whole)}).plan(3).prunes
    assert Schedule(**{what: (whole, whole, 0.9)}).plan(3).prunes


def test_value_limit_of_a_list_is_by_layer_and_goes_up_and_down() -> None:
    plan = Schedule(value_share=(0.0, 0.2, 1 / 65535, 1.0, 0.01)).plan(5)
    assert [plan.value_limit(layer) for layer in range(5)] == [0, 13107, 1, 65535, 656]
    with pytest.raises(ConfigError, match="value_share has 5 ratios and the model 4 layers"):
        plan.schedule.plan(4)


# ------------------------------------------------------------------------------- records and files

ALL_FIELDS = Schedule(
    tokens=(1.0, 0.5),
    heads=(1.0, 1.0),
    values=0.25,
    value_share=(0.0, 0.01),
    quantization=Quantization.progressive(8, 4, 0.2, headroom=2.0, growth="saturate"),
    protect_first=2,
    protect_last=3,
    min_tokens=4,
    decay=0.5,
    prune_prefill=False,
    name="all fields",
)
TOML = """
name = "all fields"
tokens = [1.0, 0.5]
heads = [1, 1]
values = 0.25
value_share = [0, 0.01]
protect_first = 2
protect_last = 3
min_tokens = 4
decay = 0.5
prune_prefill = false

[quantization]
q_bits = 12
k_msb_bits = 8
k_lsb_bits = 4
v_msb_bits = 8
v_lsb_bits = 4
k_policy = "PROGRESSIVE"
v_policy = "ON_REFETCH"
threshold = 0.2
headroom = 2.0
growth = "saturate"
"""


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_toml_and_json_hold_every_field(tmp_path: Path) -> None:
    assert load_schedule(written(tmp_path, "a.toml", TOML)) == ALL_FIELDS
    assert load_schedule(str(written(tmp_path, "a.json", json.dumps(ALL_FIELDS.to_dict())))) == ALL_FIELDS


def test_file_without_a_name_gives_its_own(tmp_path: Path) -> None:
    made = load_schedule(written(tmp_path, "narrow.toml", "tokens = 0.5"))
    assert made == Schedule(tokens=0.5, name="narrow")


@given(
    tokens=st.one_of(RATIOS, st.lists(RATIOS, min_size=1, max_size=6).map(lambda r: sorted(r)[::-1])),
    values=st.one_of(RATIOS, st.lists(RATIOS, min_size=1, max_size=6)),
    share=st.one_of(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=6)),
    decay=st.floats(0, 1),
    prior=st.floats(0, 1000),
    counts=st.tuples(*[st.integers(0, 9)] * 3),
    progressive=st.booleans(),
)
def test_schedule_survives_json(
    tokens: Any,
    values: Any,
    share: Any,
    decay: float,
    prior: float,
    counts: tuple[int, int, int],
    progressive: bool,
) -> None:
    quantization = Quantization.progressive(6) if progressive else Quantization.static(8)
    first, last, least = counts
    made = Schedule(tokens, 1.0, values, share, quantization, first, last, least, decay, prior)
    again = Schedule.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert hash(again) == hash(made)
    assert isinstance(again.quantization.k_policy, KeyPolicy)
    assert isinstance(again.quantization.v_policy, ValuePolicy)


def test_copy_with_changes_is_checked_too() -> None:
    assert Schedule(tokens=0.5).with_(name="half") == Schedule(tokens=0.5, name="half")
    with pytest.raises(ConfigError, match="decay is 2"):
        Schedule().with_(decay=2)


# ------------------------------------------------------------------------------- being told no

FIELDS = (
    "['decay', 'heads', 'min_tokens', 'name', 'prior', 'protect_first', 'protect_last', 'prune_prefill', "
    "'quantization', 'tokens', 'value_share', 'values']"
)
QUANTIZATION_FIELDS = (
    "['growth', 'headroom', 'k_lsb_bits', 'k_msb_bits', 'k_policy', 'q_bits', 'threshold', 'v_lsb_bits', "
    "'v_msb_bits', 'v_policy']"
)
#: Entries of a table, and the whole message.
BAD: list[tuple[Any, str]] = [
    ({"tokens": 0}, "schedule: tokens has keep ratio 0; expected 0 < ratio <= 1"),
    ({"tokens": -0.1}, "schedule: tokens has keep ratio -0.1; expected 0 < ratio <= 1"),
    ({"heads": 1.5}, "schedule: heads has keep ratio 1.5; expected 0 < ratio <= 1"),
    ({"heads": [1.0, 2]}, "schedule: heads has keep ratio 2; expected 0 < ratio <= 1"),
    ({"values": float("nan")}, "schedule: values has keep ratio nan; expected 0 < ratio <= 1"),
    ({"values": float("inf")}, "schedule: values has keep ratio inf; expected 0 < ratio <= 1"),
    ({"value_share": -0.01}, "schedule: value_share has share -0.01; expected 0 <= share <= 1"),
    ({"value_share": [0, 1.5]}, "schedule: value_share has share 1.5; expected 0 <= share <= 1"),
    ({"value_share": True}, "schedule: value_share has share True; expected 0 <= share <= 1"),
    ({"tokens": "half"}, "schedule: tokens has keep ratio 'half'; expected 0 < ratio <= 1"),
    ({"tokens": True}, "schedule: tokens has keep ratio True; expected 0 < ratio <= 1"),
    ({"tokens": None}, "schedule: tokens has keep ratio None; expected 0 < ratio <= 1"),
    ({"tokens": []}, "schedule: tokens is an empty list; expected one ratio per layer, or one for all"),
    (
        {"tokens": [0.5, 0.6]},
        "schedule 'custom': tokens grow from one layer to the next in [0.5, 0.6]; expected ratios that never "
        "grow: what is pruned once is gone (cascade)",
    ),
    (
        {"heads": [0.5, 0.4, 0.6], "name": "x"},
        "schedule 'x': heads grow from one layer to the next in [0.5, 0.4, 0.6]; expected ratios that never "
        "grow: what is pruned once is gone (cascade)",
    ),
    ({"protect_first": -1}, "schedule 'custom': protect_first is -1; expected a count of 0 or more"),
    ({"protect_last": 0.5}, "schedule 'custom': protect_last is 0.5; expected a count of 0 or more"),
    ({"min_tokens": True}, "schedule 'custom': min_tokens is True; expected a count of 0 or more"),
    ({"min_tokens": "2"}, "schedule 'custom': min_tokens is '2'; expected a count of 0 or more"),
    ({"prior": -1}, "schedule 'custom': prior is -1; expected 0 to 1000"),
    ({"decay": 1.1}, "schedule 'custom': decay is 1.1; expected a factor from 0 to 1"),
    ({"decay": -1}, "schedule 'custom': decay is -1; expected a factor from 0 to 1"),
    ({"decay": "slow"}, "schedule 'custom': decay is 'slow'; expected a factor from 0 to 1"),
    ({"decay": float("nan")}, "schedule 'custom': decay is nan; expected a factor from 0 to 1"),
    ({"prune_prefill": "no"}, "schedule 'custom': prune_prefill is 'no'; expected true or false"),
    ({"name": 5}, "schedule 5: name is 5; expected a text"),
    ({"tokns": 0.5}, f"schedule has unknown entries ['tokns']; expected some of {FIELDS}"),
    ([0.5], "schedule is [0.5]; expected a table of fields"),
    ({"quantization": 8}, "schedule: quantization is 8; expected a table of fields"),
    (
        {"quantization": {"bits": 8}},
        f"quantization has unknown entries ['bits']; expected some of {QUANTIZATION_FIELDS}",
    ),
    (
        {"quantization": {"k_policy": "SOMETIMES"}},
        "quantization.k_policy is 'SOMETIMES'; expected one of ['MSB_ONLY', 'ALWAYS', 'PROGRESSIVE', "
        "'BY_KEY']",
    ),
    (
        {"quantization": {"v_policy": 3}},
        "quantization.v_policy is 3; expected one of ['MSB_ONLY', 'ALWAYS', 'ON_REFETCH']",
    ),
    ({"quantization": {"q_bits": 7}}, "Quantization.q_bits is 7; expected one of (4, 6, 8, 10, 12)"),
]


@pytest.mark.parametrize(("record", "message"), BAD, ids=[str(record) for record, _ in BAD])
def test_bad_table_is_refused_with_the_whole_message(record: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Schedule.from_dict(record)
    assert str(caught.value) == message


def test_quantization_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="quantization is None; expected a Quantization"):
        Schedule(quantization=None)


@pytest.mark.parametrize("name", ["tokens", "heads", "values"])
def test_schedule_of_another_length_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Schedule(**{name: (1.0, 0.5, 0.5)}, name="three").plan(4)
    assert str(caught.value) == (
        f"schedule 'three': {name} has 3 ratios and the model 4 layers; expected one ratio per layer"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 4, "tokens": 0}, "average keep ratio is 0; expected 0 < ratio <= 1"),
        ({"layers": 4, "tokens": 2, "length": 64}, "average keep ratio is 2; expected 0 < ratio <= 1"),
        ({"layers": 4, "tokens": -1, "length": 64}, "average keep ratio is -1; expected 0 < ratio <= 1"),
        ({"layers": 4, "heads": 1.01}, "average keep ratio is 1.01; expected 0 < ratio <= 1"),
        ({"layers": 4, "tokens": "half"}, "average keep ratio is 'half'; expected 0 < ratio <= 1"),
        ({"layers": 0}, "layers is 0; expected 1 or more"),
        ({"layers": 4, "reference_length": 1, "length": 64}, "reference_length is 1; expected 2 or more"),
    ],
)
def test_paper_schedule_refuses_what_it_cannot_interpolate(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        paper_schedule(**arguments)
    assert str(caught.value) == message


#: A file's name, its bytes, and what the message says behind the file's name.
BAD_FILES: list[tuple[str, bytes | None, str]] = [
    ("missing.toml", None, " cannot be read: No such file or directory"),
    ("broken.toml", b"tokens =", ": Invalid value (at end of document)"),
    ("broken.json", b"{", ": Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ("list.json", b"[1]", ": holds a list; expected a table of a schedule's fields"),
    ("latin1.toml", b"name = '\xe9'", ": 'utf-8' codec can't decode byte 0xe9 in position 8"),
    ("ratio.toml", b"tokens = 2", ": schedule: tokens has keep ratio 2; expected 0 < ratio <= 1"),
    ("entry.json", b'{"tokns": 1}', f": schedule has unknown entries ['tokns']; expected some of {FIELDS}"),
    ("threshold.toml", b'[quantization]\nthreshold = "a"', ": "),
    ("schedule.yaml", b"tokens: 0.5", " is of an unknown kind; expected .toml or .json"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES])
def test_bad_file_is_named_with_what_is_wrong(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_schedule(file)
    assert str(caught.value).startswith(f"schedule file {str(file)!r}{said}")
