# SPDX-License-Identifier: BSD-2-Clause
"""Number formats: every combination that is not one, and what reaches the job."""

import math
from typing import Any

import pytest

from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import ConfigError

WIDTHS = "one of (4, 6, 8, 10, 12)"
PROBABILITY = "a probability from 0 (never refetch) to 1"
TWO_PLANES = {"k_msb_bits": 6, "k_lsb_bits": 4, "v_msb_bits": 6, "v_lsb_bits": 4}


@pytest.mark.parametrize(
    ("options", "field", "rule"),
    [
        *[({name: 5}, name, WIDTHS) for name in ("q_bits", "k_msb_bits", "v_msb_bits")],
        *[({name: 2}, name, WIDTHS) for name in ("q_bits", "k_msb_bits", "v_msb_bits")],
        *[({name: 14}, name, WIDTHS) for name in ("q_bits", "k_msb_bits", "v_msb_bits")],
        *[({name: 3}, name, "0 (no LSB plane) or 4") for name in ("k_lsb_bits", "v_lsb_bits")],
        ({"k_policy": KeyPolicy.ALWAYS}, "k_policy", "MSB_ONLY without an LSB plane"),
        ({"k_policy": KeyPolicy.PROGRESSIVE}, "k_policy", "MSB_ONLY without an LSB plane"),
        ({"v_policy": ValuePolicy.ALWAYS}, "v_policy", "MSB_ONLY without an LSB plane"),
        ({"v_policy": ValuePolicy.ON_REFETCH}, "v_policy", "MSB_ONLY without an LSB plane"),
        (
            {**TWO_PLANES, "v_policy": ValuePolicy.ON_REFETCH},
            "v_policy",
            "ON_REFETCH only with k_policy PROGRESSIVE",
        ),
        (
            {**TWO_PLANES, "k_policy": KeyPolicy.ALWAYS, "v_policy": ValuePolicy.ON_REFETCH},
            "v_policy",
            "ON_REFETCH only with k_policy PROGRESSIVE",
        ),
        ({**TWO_PLANES, "k_policy": 3}, "k_policy", f"one of {[*KeyPolicy]}"),
        ({**TWO_PLANES, "v_policy": 3}, "v_policy", f"one of {[*ValuePolicy]}"),
        *[({"threshold": t}, "threshold", PROBABILITY) for t in (-0.1, 1.1, math.nan)],
        *[({"headroom": h}, "headroom", "a factor from 1 to 16") for h in (0.9, 17.0, math.nan)],
        ({"growth": "halve"}, "growth", "'double' or 'saturate'"),
    ],
    ids=str,
)
def test_illegal(options: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(ConfigError) as error:
        Quantization(**options)
    assert str(error.value) == f"Quantization.{field} is {options[field]!r}; expected {rule}"


@pytest.mark.parametrize("k_policy", KeyPolicy)
@pytest.mark.parametrize("v_policy", ValuePolicy)
def test_two_planes_take_every_policy_that_makes_sense(k_policy: KeyPolicy, v_policy: ValuePolicy) -> None:
    legal = v_policy != ValuePolicy.ON_REFETCH or k_policy == KeyPolicy.PROGRESSIVE
    try:
        Quantization(**TWO_PLANES, k_policy=k_policy, v_policy=v_policy)
    except ConfigError:
        assert not legal
    else:
        assert legal


def test_static() -> None:
    assert Quantization.static(8, growth="saturate") == Quantization(8, 8, 0, 8, 0, growth="saturate")


def test_progressive() -> None:
    rules = Quantization.progressive(8, 4, 0.25, headroom=2.0)
    assert (rules.q_bits, rules.k_bits, rules.v_bits) == (12, 12, 12)
    assert rules.job_fields == {
        "q_bits": 12,
        "k_msb_bits": 8,
        "k_lsb_bits": 4,
        "v_msb_bits": 8,
        "v_lsb_bits": 4,
        "k_policy": 2,
        "v_policy": 2,
        "refetch_limit": 4 * 65535,
    }
    assert rules.headroom == 2.0


def test_queries_have_at_most_12_bits() -> None:
    assert Quantization.progressive(12, 4).q_bits == 12
