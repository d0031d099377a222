# SPDX-License-Identifier: BSD-2-Clause
"""Jobs of the contract for any configuration: some that are fixed, and any number at random.

The driver itself makes them, on an emulator of the device's configuration, out of numbers that a seed fixes.
So the same configuration and name give the same bytes on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import (
    Accelerator,
    AcceleratorConfig,
    Emulator,
    KeyPolicy,
    LayerRequest,
    Quantization,
    Sequence,
    Shape,
    ValuePolicy,
    allocate,
)
from spatten_drivers.fields import Table
from spatten_drivers.job import JOB_WORDS

from .image import Image

_JOB = Table(JOB_WORDS)


@dataclass(frozen=True)
class JobSpec:
    """A layer job in words; what is ``None`` is not pruned.

    Attributes
    ----------
    slots, keys, queries : tokens of the sequence, live ones and asking ones.
    total_heads, heads : of the layer, and how many of them are alive.
    loud : factor on the queries: the greater, the surer is each row of one key.
    value_limit : of the request; 0 on a device of contract 1.0.
    broken : a field of the descriptor that no device takes, and its value.
    """

    name: str
    head_dim: int
    slots: int
    keys: int
    queries: int
    total_heads: int
    heads: int
    quantization: Quantization
    causal: bool = False
    keep_tokens: int | None = None
    keep_heads: int | None = None
    keep_values: int | None = None
    protected: int = 0
    adds: bool = True
    decay: float = 1.0
    loud: float = 1.0
    value_limit: int = 0
    broken: tuple[str, int] | None = None


def golden(config: AcceleratorConfig) -> list[JobSpec]:
    """One of each kind that the configuration can have."""
    dim, wide = config.head_dims[0], config.head_dims[-1]
    n = min(48, config.max_sequence)
    heads, live = min(4, config.max_heads), min(3, config.max_heads)
    both = replace(Quantization.progressive(8, 4), k_policy=KeyPolicy.ALWAYS, v_policy=ValuePolicy.ALWAYS)
    dense = Quantization.static(12)
    pruned = JobSpec(
        "causal, tokens, heads and values pruned, 6+4 bits", dim, n, n * 3 // 4, 7, heads, live,
        Quantization.progressive(6, 4, 0.1), causal=True, keep_tokens=n // 3, keep_heads=max(1, live - 1),
        keep_values=9, protected=3, decay=0.5, loud=4.0,
    )  # fmt: skip
    plain = JobSpec("dense, 12 bits", dim, n // 2, n // 2, 5, heads, heads, dense)
    return [
        plain,
        pruned,
        replace(plain, name="both planes, 8+4 bits", head_dim=wide, quantization=both, adds=False),
        JobSpec("a token's step, 4 bits", wide, n, n, 1, heads, live, Quantization.static(4), keep_values=5),
        JobSpec("one of each", dim, 1, 1, 1, 1, 1, dense),
        replace(plain, name="a job of another configuration", broken=("config_digest_lo", 1)),
        replace(plain, name="a head dimension of 33", broken=("head_dim", 33)),
        replace(pruned, name="a clean job after refused ones", loud=0.5),
        *_by_key(config, "a token's step by key, 4+4 bits", n, live, loud=4.0),
    ]


def _by_key(config: AcceleratorConfig, name: str, cache: int, heads: int, loud: float = 1.0) -> list[JobSpec]:
    """A step in which few keys refetch and light values are left out; none on a device of contract 1.0."""
    if config.abi_minor < 1:
        return []
    rules = Quantization.by_key(4, 4)
    return [
        JobSpec(name, config.head_dims[-1], cache, cache, 1, heads, heads, rules, keep_tokens=cache // 2 or 1,
                loud=loud, value_limit=6000)
    ]  # fmt: skip


def long_jobs(config: AcceleratorConfig) -> list[JobSpec]:
    """Jobs whose cycles a plan can be held to: a text, a pruned text, a step over a long cache."""
    dim, heads = config.head_dims[-1], min(4, config.max_heads)
    text = min(64, config.max_sequence)
    cache, eight = min(256, config.max_sequence), Quantization.static(8)
    return [
        JobSpec("a text, 12 bits", dim, text, text, text, heads, heads, Quantization.static(12),
                keep_tokens=text // 2),
        JobSpec("a pruned text, 8 bits", dim, text, text * 5 // 8, text * 5 // 8, heads, heads, eight,
                keep_tokens=text // 2),
        JobSpec("a step, 8 bits", dim, cache, cache, 1, heads, heads, eight, keep_tokens=cache // 2),
        JobSpec("a pruned step, 8 bits", dim, cache, cache // 2, 1, heads, heads, eight,
                keep_tokens=cache // 4, keep_values=cache // 4),
        *_by_key(config, "a step by key, 4+4 bits", cache, heads),
    ]  # fmt: skip


def random_jobs(config: AcceleratorConfig, seed: int) -> Iterator[JobSpec]:
    """Without end: any legal job of at most 48 tokens, one in sixteen broken; the same for a seed."""
    draws = np.random.default_rng([seed, 1])
    number = 0
    while True:
        number += 1
        yield _random(config, draws, f"job {number} of seed {seed}")


def _random(config: AcceleratorConfig, draws: np.random.Generator, name: str) -> JobSpec:
    def upto(most: int) -> int:
        return int(draws.integers(1, most + 1))

    slots = upto(min(48, config.max_sequence))
    keys, total = upto(slots), upto(min(4, config.max_heads))
    heads, kept = upto(total), upto(keys)
    formats = (Quantization.static(12), Quantization.static(6), Quantization.progressive(6, 4, 0.2))
    broken = ("config_digest_hi", 1) if draws.integers(16) == 0 else None
    return JobSpec(
        name, int(draws.choice(config.head_dims)), slots, keys, upto(min(6, keys)), total, heads,
        formats[int(draws.integers(len(formats)))],
        causal=bool(draws.integers(2)), keep_tokens=kept, keep_heads=upto(heads), keep_values=upto(keys),
        protected=int(draws.integers(0, kept + 1)), adds=bool(draws.integers(2)),
        decay=float(draws.choice([0.0, 0.5, 1.0])), loud=float(draws.choice([0.1, 1.0, 8.0])), broken=broken,
    )  # fmt: skip


# Images -------------------------------------------------------------------------------------------


def image_of(spec: JobSpec, config: AcceleratorConfig, seed: int = 0) -> Image:
    """The job among random bytes; the same for equal arguments."""
    draws = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    room = 1 << 16 | 8 * spec.total_heads * spec.slots * 2 * spec.head_dim
    with Emulator(config, memory_bytes=room, kernel="numpy") as twin:
        twin.write_memory(0, draws.integers(0, 256, room, dtype=np.uint8))
        sequence = Sequence(twin, Shape(1, spec.total_heads, spec.head_dim, spec.slots), spec.quantization)
        request = _request(spec, draws)
        _fill(sequence, spec, draws)
        ticket = Accelerator(twin).submit(sequence, request)  # it waits there, and never runs
        end = allocate(1, "u1", twin).device_address
        memory, descriptor = twin.read_memory(0, end), ticket.descriptor.device_address
    if spec.broken:
        _poke(memory, descriptor, *spec.broken)
    return Image(spec.name, memory, descriptor)


def _request(spec: JobSpec, draws: np.random.Generator) -> LayerRequest:
    keys = _ascending(draws, spec.slots, spec.keys)
    asking = np.sort(draws.permutation(keys)[: spec.queries])
    heads = _ascending(draws, spec.total_heads, spec.heads)
    queries = spec.loud * draws.standard_normal((len(heads), len(asking), spec.head_dim))
    return LayerRequest(
        0,
        heads,
        queries.astype(np.float32),
        asking,
        keys,
        spec.slots,
        spec.head_dim**-0.5,
        causal=spec.causal,
        keep_tokens=spec.keep_tokens,
        keep_heads=spec.keep_heads,
        keep_values=spec.keep_values,
        protected=frozenset(draws.permutation(keys)[: spec.protected].tolist()),
        add_tokens=spec.adds,
        add_heads=spec.adds,
        decay=spec.decay,
        value_limit=spec.value_limit,
    )


def _fill(sequence: Sequence, spec: JobSpec, draws: np.random.Generator) -> None:
    """Rows of every slot, and an importance that older layers have left."""
    shape = (2, spec.total_heads, spec.slots, spec.head_dim)
    k, v = draws.standard_normal(shape).astype(np.float32)
    sequence.write(0, np.arange(spec.total_heads), np.arange(spec.slots), k, v)
    for importance, top in ((sequence.token_importance, 1 << 32), (sequence.head_importance, 1 << 48)):
        importance[...] = draws.integers(0, top, importance.shape, dtype=np.uint64).astype(importance.dtype)
        importance.sync_to_device()


def _ascending(draws: np.random.Generator, population: int, count: int) -> NDArray[np.int64]:
    return np.sort(draws.permutation(population)[:count])


def _poke(memory: NDArray[np.uint8], descriptor: int, name: str, value: int) -> None:
    """Put a value into one field of a descriptor."""
    place = next(entry for entry in _JOB.places if entry[0] == name)
    _, index, lsb, mask, _ = place
    word = memory[descriptor + 4 * index :][:4].view("<u4")
    word[0] = int(word[0]) & ~(mask << lsb) & 0xFFFFFFFF | value << lsb
