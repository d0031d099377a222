# SPDX-License-Identifier: BSD-2-Clause
"""Devices that are right but for one thing, and the runs that the tests record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spatten_drivers import Accelerator, AcceleratorConfig, Device, Emulator, LayerResult, Quantization
from spatten_drivers.answer import CYCLE_COUNTERS
from spatten_drivers.job import HEADER_BYTES, JOB_WORDS, decode_header

from ..floats import layer

MEMORY = 1 << 20
RULES = Quantization.progressive(6, 4, 0.3)


def emulator(**options: Any) -> Emulator:
    return Emulator(**{"memory_bytes": MEMORY, "kernel": "numpy", **options})


class Altered(Emulator):
    """An emulator with something done to memory before and after each job; both get the job's fields."""

    def __init__(self, **options: Any) -> None:
        self.before: Callable[[Altered, int, dict[str, int]], None] = lambda *_: None
        self.after: Callable[[Altered, int, dict[str, int]], None] = lambda *_: None
        super().__init__(**{"memory_bytes": MEMORY, "kernel": "numpy", **options})

    def _run_next_job(self) -> None:
        address = self._queue[0] if self._queue and not self._hang else None
        if address is None:
            return
        fields = decode_header(self._memory[address : address + HEADER_BYTES])
        self.before(self, address, fields)
        super()._run_next_job()
        self.after(self, address, fields)


def flipping_a_bit(
    region: str,
    offset: int,
    when: Callable[[dict[str, int]], bool] = lambda fields: True,
    **options: Any,
) -> Altered:
    """One bit of an answer region is wrong in the jobs that ``when`` chooses."""

    def flip(device: Altered, address: int, fields: dict[str, int]) -> None:
        if when(fields):
            device._memory[fields[f"{region}_address"] + offset] ^= 4

    device = Altered(**options)
    device.after = flip
    return device


def ignoring(field: str, value: int) -> Altered:
    """A device that takes ``value`` for a descriptor field, whatever stands there."""
    word = next(w for w in JOB_WORDS for f in w.fields if f.name == field)
    part = next(f for f in word.fields if f.name == field)

    def patch(device: Altered, address: int, number: int) -> None:
        words = device._memory[address : address + HEADER_BYTES].view("<u4")
        words[word.index] = int(words[word.index]) & ~(part.mask << part.lsb) | number << part.lsb

    device = Altered()
    device.before = lambda device, address, fields: patch(device, address, value)
    device.after = lambda device, address, fields: patch(device, address, fields[field])
    return device


def clocked(cycles: int = 1000) -> Altered:
    """A device with a clock: every cycle counter of its answers reads something."""

    def count(device: Altered, address: int, fields: dict[str, int]) -> None:
        start = fields["answer_address"]
        words = device._memory[start : start + HEADER_BYTES].view("<u4")
        for counter in CYCLE_COUNTERS:
            words[counter.index : counter.index + 2] = cycles + counter.index, 0

    device = Altered()
    device.after = count
    return device


def three_layers(device: Device) -> list[LayerResult]:
    """A text through three layers that share a sequence, each with the survivors of the one before."""
    driver, data = Accelerator(device), layer(device, RULES, tokens=24)
    results = [driver.attend(data.sequence, data.request(keep_tokens=16, add_tokens=False, add_heads=False))]
    for keep_tokens, keep_heads in ((10, 3), (6, 2)):
        tokens, heads = results[-1].tokens, results[-1].heads
        changes = {"heads": heads, "queries": data.q[heads][:, tokens], "query_slots": tokens}
        request = data.request(key_slots=tokens, keep_tokens=keep_tokens, keep_heads=keep_heads, **changes)
        results.append(driver.attend(data.sequence, request))
    return results


def growing(device: Device, steps: int = 4) -> list[LayerResult]:
    """A prompt, then single queries on a growing cache, causal, with few values kept."""
    driver, data = Accelerator(device), layer(device, RULES, heads=2, tokens=12)
    prompt = 12 - steps
    results = []
    for end in (prompt, *range(prompt + 1, 13)):
        queries = np.arange(0 if end == prompt else end - 1, end)
        request = data.request(
            queries=data.q[:, queries],
            query_slots=queries,
            key_slots=np.arange(end),
            n_slots=end,
            causal=True,
            keep_values=5,
            decay=0.5,
        )
        results.append(driver.attend(data.sequence, request))
    return results


OTHER_CONFIG = AcceleratorConfig(lanes=32, max_heads=8)
