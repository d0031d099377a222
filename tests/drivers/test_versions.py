# SPDX-License-Identifier: BSD-2-Clause
"""A device of contract 1.0 works as it always did, and what it does not know is refused in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatten_drivers import PRESETS, Accelerator, Emulator, LayerResult, Quantization
from spatten_drivers.errors import ConfigError, OperandError

from .floats import layer

NEWER = PRESETS["ecp5-25f"]
OLDER = replace(NEWER, abi_minor=0)


def emulator(minor: int) -> Emulator:
    return Emulator(OLDER if minor == 0 else NEWER, memory_bytes=1 << 21)


def run(minor: int, quantization: Quantization, **changes: int) -> LayerResult:
    device = emulator(minor)
    data = layer(device, quantization)
    return Accelerator(device).attend(data.sequence, data.request(**changes))


@pytest.mark.parametrize(
    "quantization", [Quantization.static(12), Quantization.progressive(6, 4, 0.3)], ids=["one", "two planes"]
)
def test_the_same_answers(quantization: Quantization) -> None:
    """But for the version and the digest; the job is of the device's version."""
    older, newer = (run(minor, quantization, keep_values=5, keep_tokens=9) for minor in (0, 1))
    assert (older.job["abi_minor"], newer.job["abi_minor"]) == (0, 1)
    assert (older.answer.fields["abi_minor"], newer.answer.fields["abi_minor"]) == (0, 1)
    names = ("abi_minor", "config_digest_lo", "config_digest_hi")
    assert older.answer.differences(newer.answer) == [f"field {name}" for name in names]


def test_its_registers() -> None:
    device = emulator(0)
    assert device.read_fields("ABI_VERSION") == {"ABI_MINOR": 0, "ABI_MAJOR": 1}
    assert device.config == OLDER


def test_no_value_limit() -> None:
    device = emulator(0)
    data, done = layer(device, Quantization.static(12)), device.read_register("JOBS_DONE")
    with pytest.raises(OperandError) as error:
        Accelerator(device).submit(data.sequence, data.request(value_limit=2000))
    assert str(error.value) == (
        f"value_limit is 2000; {device} speaks contract 1.0, which has none. Load a bitstream of 1.1, or use "
        "a schedule without"
    )
    assert device.read_register("JOBS_DONE") == done


def test_no_refetch_by_key() -> None:
    """Before memory is taken."""
    device = emulator(0)
    with pytest.raises(ConfigError) as error:
        layer(device, Quantization.by_key())
    assert str(error.value) == (
        f"k_policy is BY_KEY; {device} speaks contract 1.0, which cannot refetch by key. Load a bitstream of "
        "1.1, or use a schedule without"
    )
    assert device.allocator.bytes_taken == 0


def test_both_on_a_newer_one() -> None:
    """What is asked for stands in the job."""
    device = emulator(1)
    data = layer(device, Quantization.by_key(4, 4, 1 / 32))
    step = data.request(queries=data.q[:, -1:], query_slots=np.array([23]), value_limit=2000)
    job = Accelerator(device).attend(data.sequence, step).job
    assert [job[name] for name in ("k_policy", "refetch_shift", "value_limit")] == [3, 5, 2000]
