# SPDX-License-Identifier: BSD-2-Clause
"""Presets: each is documented, does what its sentence says, and is found by name or by file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spatten import PRESETS, Schedule, preset
from spatten.presets import chosen_schedule
from spatten.quality.rows import ROWS, schedule_of
from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import ConfigError

PAPER = ["paper-bert", "paper-gpt2"]
#: Rows of the quality study by the preset that is one.
MEASURED = {
    "lean-gpt2": "K 6, V 4 bit, tokens -45%, lean",
    "keys-gpt2": "by key, values above 0.003",
    "lean-keys-gpt2": "by key, values above 0.003, tokens -40%, lean",
}
NAMES = ["dense", "dense-8bit", "progressive", "gentle", *PAPER, "recent-gpt2", *MEASURED]
LISTED = str(sorted(NAMES))


def test_these_presets_exist() -> None:
    assert list(PRESETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_preset_has_a_sentence_and_fits_any_model_and_length(name: str) -> None:
    assert PRESETS[name].description.endswith(".")
    for layers in (1, 2, 6, 12, 48):
        for length in (1, 16, 1024):
            made = preset(name, layers, length)
            assert made.name == name
            assert len(made.plan(layers).token_ratios) == layers


@pytest.mark.parametrize(("name", "bits"), [("dense", 12), ("dense-8bit", 8)])
def test_dense_prunes_nothing(name: str, bits: int) -> None:
    assert preset(name, 12, 128) == Schedule(quantization=Quantization.static(bits), name=name)


@pytest.mark.parametrize(
    ("name", "msb"), [("progressive", 6), ("gentle", 8), ("paper-bert", 6), ("paper-gpt2", 6)]
)
def test_progressive_presets_start_with_msbs_and_decide_at_a_tenth(name: str, msb: int) -> None:
    formats = preset(name, 12, 128).quantization
    assert (formats.k_msb_bits, formats.k_lsb_bits, formats.v_msb_bits, formats.v_lsb_bits) == (
        msb,
        4,
        msb,
        4,
    )
    assert (formats.k_policy, formats.v_policy) == (KeyPolicy.PROGRESSIVE, ValuePolicy.ON_REFETCH)
    assert formats.threshold == 0.1


def mean(ratios: tuple[float, ...], front: int) -> float:
    return sum(ratios[front:]) / len(ratios[front:])


def test_paper_bert_keeps_70_percent_of_tokens_and_90_of_heads_behind_the_front_layers() -> None:
    made = preset("paper-bert", 12, 128)
    assert made.tokens[:2] == made.heads[:2] == (1.0, 1.0)
    assert mean(made.tokens, 2) == pytest.approx(0.7)
    assert mean(made.heads, 4) == pytest.approx(0.9)
    assert made.values == 1.0
    assert made.prune_prefill
    assert made.protect_first == 1  # [CLS]


def test_gentle_keeps_nine_tenths_of_tokens_and_every_head() -> None:
    made = preset("gentle", 12, 128)
    assert mean(made.tokens, 2) == pytest.approx(0.9)
    assert set(made.heads) == {1.0}


def test_paper_gpt2_attends_to_40_percent_and_reads_the_prompt_whole() -> None:
    made = preset("paper-gpt2", 12, 128)
    assert mean(made.tokens, 2) == pytest.approx(0.4)
    assert mean(made.heads, 4) == pytest.approx(0.9)
    assert made.values == 0.3
    assert not made.prune_prefill
    assert made.protect_last == 1


def test_recent_gpt2_spares_the_newest_tokens_and_all_heads_and_values() -> None:
    made = preset("recent-gpt2", 12, 128)
    assert mean(made.tokens, 2) == pytest.approx(0.7)
    assert (set(made.heads), made.values) == ({1.0}, 1.0)
    assert made.quantization == Quantization.static(6)
    assert not made.prune_prefill
    assert made.protect_last == 32


@pytest.mark.parametrize("name", MEASURED)
def test_presets_of_generation_are_the_rows_that_were_measured(name: str) -> None:
    row = next(row for row in ROWS if row.name == MEASURED[name])
    measured = schedule_of(row, 6)
    assert measured is not None
    assert replace(preset(name, 6, 512), name=measured.name) == measured


def test_keys_gpt2_prunes_nothing_but_values_that_weigh_little() -> None:
    made = preset("keys-gpt2", 12, 128)
    assert (set(made.tokens), set(made.heads), made.values) == ({1.0}, {1.0}, 1.0)
    assert made.value_share == 0.003
    assert (made.quantization.k_policy, made.quantization.refetch_shift) == (KeyPolicy.BY_KEY, 6)


@pytest.mark.parametrize("name", ["paper-bert", "gentle"])
def test_longer_inputs_prune_more(name: str) -> None:
    kept = [mean(preset(name, 12, length).tokens, 2) for length in (16, 128, 512)]
    assert kept[0] > kept[1] > kept[2]


def test_schedule_is_chosen_by_name_or_by_file(tmp_path: Path) -> None:
    file = tmp_path / "half.json"
    file.write_text('{"tokens": 0.5}')
    assert chosen_schedule("paper-bert") == "paper-bert"
    assert chosen_schedule(str(file)) == Schedule(tokens=0.5, name="half")


@pytest.mark.parametrize("given", ["paper", "", "schedule.yaml", "Dense"])
def test_unknown_name_lists_the_known_ones(given: str) -> None:
    message = f"schedule is {given!r}; expected one of {LISTED}, or a .toml or .json file"
    for choose in (chosen_schedule, lambda name: preset(name, 12, 128)):
        with pytest.raises(ConfigError) as caught:
            choose(given)
        assert str(caught.value) == message


def test_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"schedule file 'no.toml' cannot be read: No such file"):
        chosen_schedule("no.toml")
