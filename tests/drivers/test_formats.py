# SPDX-License-Identifier: BSD-2-Clause
"""Number formats: every combination that is not one, and what reaches the job."""

import math
from typing import Any

import pytest

from spatten_drivers import KeyPolicy, Quantization, ValuePolicy
from spatten_drivers.errors import ConfigError

WIDTHS = "one of (4, 6, 8, 10, 12)"
PROBABILITY = "a probability from 0 (never refetch) to 1"
CLAMPED = "a factor from 0.25 to 16 with growth 'saturate'"
SHARE = "a power of two from 2^-16 to 2^-1 with k_policy BY_KEY"
TWO_PLANES = {"k_msb_bits": 6, "k_lsb_bits": 4, "v_msb_bits": 6, "v_lsb_bits": 4}

LIKELY = {**TWO_PLANES, "k_policy": KeyPolicy.BY_KEY, "threshold": 0.125}


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
        ({"k_policy": KeyPolicy.BY_KEY}, "k_policy", "MSB_ONLY without an LSB plane"),
        (
            {**LIKELY, "v_policy": ValuePolicy.ON_REFETCH},
            "v_policy",
            "ON_REFETCH only with k_policy PROGRESSIVE",
        ),
        *[({**LIKELY, "threshold": t}, "threshold", SHARE) for t in (0, 0.1, 0.75, 1.0, 2**-17)],
        ({**TWO_PLANES, "k_policy": 4}, "k_policy", f"one of {[*KeyPolicy]}"),
        ({**TWO_PLANES, "v_policy": 3}, "v_policy", f"one of {[*ValuePolicy]}"),
        *[({"threshold": t}, "threshold", PROBABILITY) for t in (-0.1, 1.1, math.nan)],
        *[({"headroom": h}, "headroom", "a factor from 1 to 16") for h in (0.9, 17.0, math.nan)],
        *[({"growth": "saturate", "headroom": h}, "headroom", CLAMPED) for h in (0.2, 17.0, math.nan)],
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
        Quantization(**TWO_PLANES, k_policy=k_policy, v_policy=v_policy, threshold=0.125)
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
        "v_policy": 2,
        "refetch_limit": 4 * 65535,
    }
    assert rules.key_fields(1) == rules.key_fields(5) == {"k_policy": 2, "refetch_shift": 0}
    assert rules.headroom == 2.0


@pytest.mark.parametrize("shift", [1, 6, 16])
def test_by_key(shift: int) -> None:
    """A step of generation refetches by key; a prompt, whose queries share the rows, reads them whole."""
    rules = Quantization.by_key(4, 4, 2.0**-shift, 8, headroom=2.0)
    assert (rules.q_bits, rules.k_bits, rules.v_bits, rules.v_lsb_bits, rules.headroom) == (12, 8, 8, 0, 2.0)
    assert rules.key_fields(1) == {"k_policy": 3, "refetch_shift": shift}
    assert rules.key_fields(2) == {"k_policy": 1, "refetch_shift": 0}


def test_queries_have_at_most_12_bits() -> None:
    assert Quantization.progressive(12, 4).q_bits == 12
