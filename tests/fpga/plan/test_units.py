# SPDX-License-Identifier: BSD-2-Clause
"""What the plan says of each unit is what the gateware says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spatten.plan import units as plan_units
from spatten.plan.units import RANK_BITS, Units
from spatten_drivers.config import PRESETS, AcceleratorConfig
from spatten_fpga.core import finish_tokens, rows
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.reciprocal import Reciprocal
from spatten_fpga.core.topk import TopK

CONFIGS = {name: PRESETS[name] for name in PRESETS} | {
    "odd": replace(PRESETS["paper"], lanes=16, topk_parallelism=2, max_sequence=300, kv_buffer_rows=77),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> AcceleratorConfig:
    """Each preset, and one that is none."""
    return CONFIGS[request.param]


def test_words_are_those_of_the_geometry(config: AcceleratorConfig) -> None:
    geometry = Geometry(config)
    for dim in config.head_dims:
        units = Units(config, dim)
        for keys in (1, 2, 3, 17, config.max_sequence):
            assert units.words(keys) == geometry.words_of_keys(keys, dim)
        assert units.lanes_of_softmax == geometry.keys_a_word
        assert units.outputs == geometry.outputs
        assert units.buffer_words == geometry.buffer_words


def test_top_k_is_the_engine_s(config: AcceleratorConfig) -> None:
    parallel, depth = config.topk_parallelism, config.max_sequence
    units = Units(config, config.head_dims[0])
    for n in (1, 2, 15, 16, 17, 100, depth):
        assert units.topk_row(n) == TopK.period(n, parallel, 16, depth)


def test_survivors_are_searched_by_their_own_engine(config: AcceleratorConfig) -> None:
    """From the last value loaded to the first kept: the engine's cycles without loading and marking."""
    lanes, depth = finish_tokens.parallelism(Geometry(config)), config.max_sequence
    units = Units(config, config.head_dims[0])
    for n in (1, 5, 64, depth):
        beats = -(-n // lanes)
        marking = beats + plan_units._prefix(lanes) + 4
        assert units.token_search(n) == TopK.cycles(n, lanes, RANK_BITS, depth) - beats - marking


def test_constants_are_the_gateware_s() -> None:
    assert plan_units.SLOTS == rows.SLOTS
    assert plan_units.DIVIDER_ROW == Reciprocal.LATENCY + 1
    assert RANK_BITS == finish_tokens.RANK_BITS
