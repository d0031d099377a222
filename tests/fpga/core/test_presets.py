# SPDX-License-Identifier: BSD-2-Clause
"""Every named preset elaborates, simulates, and answers as the model does, bit for bit."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import Any

import pytest

from spatten_drivers.config import PRESETS
from spatten_drivers.errors import ConfigError
from spatten_fpga.core.geometry import Geometry
from tests.model.jobs import DENSE, PROGRESSIVE, HeadSpec, JobSpec, build
from tests.model.oracle_config import OracleConfig

from .core_bench import core_bench
from .test_core import assert_same, fitting_spec, random_pace

#: 512 lanes take minutes to compile; the slim ones are those of the same chips, with less of everything.
SLOW = {"paper", "ecp5-25f-slim", "ecp5-85f-slim"}


def prefill(config: OracleConfig, **changes: Any) -> JobSpec:
    """Twelve queries over forty keys and two heads."""
    plain = JobSpec(
        config=config,
        head_dim=64,
        total_heads=2,
        heads=(HeadSpec(0), HeadSpec(1)),
        n_slots=48,
        keys=tuple(range(40)),
        queries=tuple(range(12)),
        keep_values=65535,
        keep_tokens=40,
        keep_heads=2,
        widths=DENSE,
        add_tokens=True,
        add_heads=True,
    )
    return replace(plain, **changes)


#: What a preset has to answer: every mechanism, and a decode step as long as the preset allows.
KINDS = {
    "dense": {},
    "tokens and heads pruned": {"keep_tokens": 10, "keep_heads": 1, "keys": tuple(range(0, 40, 3))},
    "progressive": {"widths": PROGRESSIVE, "refetch_limit": 3 * 65535},
    "values pruned": {"widths": PROGRESSIVE, "refetch_limit": 0, "keep_values": 7},
    "causal, 32 a head": {"head_dim": 32, "causal": True},
}


@pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=[pytest.mark.deep] * (name in SLOW)) for name in PRESETS]
)
def test_preset_matches_the_model(preset: str) -> None:
    config = OracleConfig(**asdict(PRESETS[preset]))
    core = core_bench(PRESETS[preset])
    for changes in KINDS.values():
        assert_same(core, build(prefill(config, **changes)))
    longest = config.max_sequence
    step = {"n_slots": longest, "keys": tuple(range(longest)), "queries": (longest - 1,)}
    assert_same(core, build(prefill(config, **step, keep_values=longest // 4, keep_tokens=longest // 2)))
    for seed in range(20):
        draws = random.Random(f"{preset} {seed}")
        assert_same(core, build(fitting_spec(draws, config)), **random_pace(draws), seed=seed)


def test_gateware_of_an_older_contract_is_not_built() -> None:
    with pytest.raises(ConfigError) as caught:
        Geometry(replace(PRESETS["ecp5-85f"], abi_minor=0))
    assert str(caught.value) == (
        "this gateware speaks contract 1.1, the configuration 1.0; build an older one from its release"
    )
