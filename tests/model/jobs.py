# SPDX-License-Identifier: BSD-2-Clause
"""Layer jobs as raw memory images, encoded from docs/contract.md with `struct` alone.

`JobSpec` says what a job is; `build` lays it out in a memory of random bytes, at random beat-aligned places
with guard bytes between them. Since everything starts random, a byte that is wrongly touched is seen.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from .oracle_config import OracleConfig
from .oracle_format import HEADER_WORDS, JOB_FIELDS, JOB_MAGIC, set_field
from .oracle_memory import PROTECTED_BIT, pad, row_bytes


@dataclass(frozen=True)
class HeadSpec:
    """One entry of the head table; the default spreads scores of uniform 8 x 10 bits over a few octaves."""

    head_id: int
    score_shift: int = 19
    score_mult: int = 26000
    importance_mult: int = 30000
    importance_shift: int = 20

    def encode(self) -> bytes:
        """The 8 bytes of the entry."""
        return struct.pack(
            "<BBHHBB",
            self.head_id,
            self.score_shift,
            self.score_mult,
            self.importance_mult,
            self.importance_shift,
            0,
        )


@dataclass(frozen=True)
class Widths:
    """Operand formats: bits of each plane and which planes are used."""

    q: int = 8
    k_msb: int = 6
    k_lsb: int = 4
    v_msb: int = 6
    v_lsb: int = 4
    k_policy: int = 2
    v_policy: int = 1

    def of(self, region: str) -> int:
        """Bits of an element of the plane or query region."""
        return int(getattr(self, region))


#: All bits at once, and 6 bits with 4 more for rows that are unsure of their weights.
DENSE = Widths(q=12, k_msb=12, k_lsb=0, v_msb=12, v_lsb=0, k_policy=0, v_policy=0)
PROGRESSIVE = Widths(q=12, k_msb=6, k_lsb=4, v_msb=6, v_lsb=4, k_policy=2, v_policy=2)
#: 4 bits, and 4 more of the likely keys.
BY_KEY = Widths(q=12, k_msb=4, k_lsb=4, v_msb=6, v_lsb=0, k_policy=3, v_policy=0)


@dataclass(frozen=True)
class JobSpec:
    """A layer job. `fill` names how operands are drawn, `old` how the running importance starts."""

    config: OracleConfig = field(default_factory=OracleConfig)
    head_dim: int = 32
    total_heads: int = 1
    heads: tuple[HeadSpec, ...] = (HeadSpec(0),)
    n_slots: int = 4
    keys: tuple[int, ...] = (0, 1, 2, 3)
    protected: frozenset[int] = frozenset()
    queries: tuple[int, ...] = (3,)
    keep_values: int = 4
    keep_tokens: int = 4
    keep_heads: int = 1
    widths: Widths = field(default_factory=Widths)
    refetch_limit: int = 3 * 65535
    refetch_shift: int = 0
    value_limit: int = 0
    decay: int = 65536
    causal: bool = False
    add_tokens: bool = False
    add_heads: bool = False
    fill: str = "uniform"
    old: str = "random"
    job_id: int = 7
    seed: int = 0


@dataclass
class JobImage:
    """A built job: the memory before it runs, and where things lie."""

    memory: bytearray
    descriptor_address: int
    config: OracleConfig
    regions: dict[str, tuple[int, int]]  # name: (address, bytes)

    def poke(self, name: str, value: int) -> None:
        """Overwrite one header field of the descriptor."""
        words = list(struct.unpack_from(f"<{HEADER_WORDS}I", self.memory, self.descriptor_address))
        set_field(words, JOB_FIELDS[name], value)
        struct.pack_into(f"<{HEADER_WORDS}I", self.memory, self.descriptor_address, *words)


# -- element patterns --------------------------------------------------------------------------------


def signed_range(width: int) -> tuple[int, int]:
    """Least and greatest two's complement integer of `width` bits."""
    return -(1 << width - 1), (1 << width - 1) - 1


def pack_row(elements: list[int], width: int, length: int) -> bytes:
    """A row of a plane: element i in bits i*width to i*width + width - 1, then zeros up to `length` bytes."""
    number = sum((element & (1 << width) - 1) << i * width for i, element in enumerate(elements))
    return number.to_bytes(length, "little")


def _uniform(rng: random.Random, width: int) -> int:
    return rng.getrandbits(width)


def _extreme(rng: random.Random, width: int) -> int:
    low, high = signed_range(width)
    return rng.choice((low, high, low, high, 0, -1, 1))


def _most_negative(rng: random.Random, width: int) -> int:
    return signed_range(width)[0]


def _sparse(rng: random.Random, width: int) -> int:
    return rng.getrandbits(width) if rng.random() < 0.1 else 0


FILLS = {"uniform": _uniform, "extreme": _extreme, "most_negative": _most_negative, "sparse": _sparse}
SAME_ROWS = "equal"  # every slot of a plane holds the same uniform row: equal scores everywhere
NEAR_ROWS = "near"  # the same but for the last bit of one element: keys that refetch rise or fall together
FILL_NAMES = (*FILLS, SAME_ROWS, NEAR_ROWS)


def _rows(rng: random.Random, fill: str, count: int, head_dim: int, width: int) -> list[list[int]]:
    draw = FILLS.get(fill, _uniform)
    rows = [[draw(rng, width) for _ in range(head_dim)] for _ in range(count)]
    if fill in (SAME_ROWS, NEAR_ROWS):
        rows = [list(rows[0]) for _ in rows]
    for row in rows if fill == NEAR_ROWS else []:
        row[rng.randrange(head_dim)] ^= 1
    return rows


OLD_NAMES = ("random", "zero", "high")


def _old_words(rng: random.Random, old: str, count: int, bits: int) -> list[int]:
    """Running importance before the job; `high` is so near the top that almost any gain saturates."""
    if old == "zero":
        return [0] * count
    top = (1 << bits) - 1
    return [top - rng.getrandbits(10) if old == "high" else rng.getrandbits(bits) for _ in range(count)]


# -- layout ------------------------------------------------------------------------------------------


def _table_bytes(spec: JobSpec) -> bytes:
    """Head table, key list, query list, each padded to a beat with zeros."""
    beat = spec.config.beat_bytes
    keys = [slot | PROTECTED_BIT * (slot in spec.protected) for slot in spec.keys]
    tables = (
        b"".join(head.encode() for head in spec.heads),
        struct.pack(f"<{len(keys)}H", *keys),
        struct.pack(f"<{len(spec.queries)}H", *spec.queries),
    )
    return b"".join(table.ljust(pad(len(table), beat), b"\0") for table in tables)


def _planes(widths: Widths) -> list[str]:
    return [plane for plane in ("k_msb", "k_lsb", "v_msb", "v_lsb") if widths.of(plane)]


def _region_sizes(spec: JobSpec, strides: dict[str, int]) -> dict[str, int]:
    """Bytes of every region of the job."""
    beat, rows = spec.config.beat_bytes, len(spec.heads) * len(spec.queries)
    planes = {
        plane: (spec.total_heads - 1) * strides[plane]
        + spec.n_slots * row_bytes(spec.head_dim, spec.widths.of(plane), beat)
        for plane in _planes(spec.widths)
    }
    return {
        "descriptor": 256 + len(_table_bytes(spec)),
        "q": rows * row_bytes(spec.head_dim, spec.widths.q, beat),
        **planes,
        "output": rows * pad(2 * spec.head_dim, beat),
        "token_importance": pad(4 * spec.n_slots, beat),
        "head_importance": pad(8 * spec.total_heads, beat),
        "answer": 256 + pad(2 * spec.keep_tokens, beat) + pad(2 * spec.keep_heads, beat),
    }


def _place(rng: random.Random, sizes: dict[str, int], beat: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Regions in random order with 0 to 2 guard beats before each; also the bytes of the whole memory."""
    regions, cursor = {}, 0
    for name in rng.sample(sorted(sizes), len(sizes)):
        cursor += beat * rng.randrange(3)
        regions[name] = (cursor, sizes[name])
        cursor += sizes[name]
    return regions, cursor + beat * rng.randrange(3)


def header_fields(spec: JobSpec) -> dict[str, int]:
    """Fields of the descriptor's header, all but those that say where things lie."""
    widths = spec.widths
    return {
        "magic": JOB_MAGIC,
        "abi_major": 1,
        "abi_minor": spec.config.abi_minor,
        "job_id": spec.job_id,
        "config_digest_lo": spec.config.digest & 0xFFFFFFFF,
        "config_digest_hi": spec.config.digest >> 32,
        "causal": int(spec.causal),
        "add_tokens": int(spec.add_tokens),
        "add_heads": int(spec.add_heads),
        "head_dim": spec.head_dim,
        "total_heads": spec.total_heads,
        "n_heads": len(spec.heads),
        "n_queries": len(spec.queries),
        "n_keys": len(spec.keys),
        "n_slots": spec.n_slots,
        "keep_values": spec.keep_values,
        "keep_tokens": spec.keep_tokens,
        "keep_heads": spec.keep_heads,
        "q_bits": widths.q,
        **{f"{plane}_bits": widths.of(plane) for plane in ("k_msb", "k_lsb", "v_msb", "v_lsb")},
        "k_policy": widths.k_policy,
        "v_policy": widths.v_policy,
        "refetch_limit": spec.refetch_limit,
        "refetch_shift": spec.refetch_shift,
        "value_limit": spec.value_limit,
        "decay": spec.decay,
    }


def _header(spec: JobSpec, regions: dict[str, tuple[int, int]], strides: dict[str, int]) -> bytes:
    """The 64 words of the descriptor."""
    values = {
        **header_fields(spec),
        "descriptor_bytes": regions["descriptor"][1],
        **{f"{plane}_stride": stride for plane, stride in strides.items()},
        **{f"{name}_address": place[0] for name, place in regions.items() if name != "descriptor"},
    }
    words = [0] * HEADER_WORDS
    for name, value in values.items():
        set_field(words, JOB_FIELDS[name], value)
    return struct.pack(f"<{HEADER_WORDS}I", *words)


def _strides(spec: JobSpec, rng: random.Random) -> dict[str, int]:
    """Per plane the rows of all slots and 0 to 2 guard beats."""
    beat = spec.config.beat_bytes
    return {
        plane: spec.n_slots * row_bytes(spec.head_dim, spec.widths.of(plane), beat) + beat * rng.randrange(3)
        for plane in _planes(spec.widths)
    }


def _write_rows(
    image: JobImage, name: str, spec: JobSpec, rng: random.Random, stride: int, groups: int
) -> None:
    """Write `groups` runs of rows, `stride` bytes apart; the padding of a row stays random."""
    start, size = image.regions[name]
    width = spec.widths.of(name)
    row, used = row_bytes(spec.head_dim, width, spec.config.beat_bytes), spec.head_dim * width // 8
    count = (size - (groups - 1) * stride) // row
    for group in range(groups):
        for i, elements in enumerate(_rows(rng, spec.fill, count, spec.head_dim, width)):
            place = start + group * stride + i * row
            image.memory[place : place + used] = pack_row(elements, width, used)


def build(spec: JobSpec) -> JobImage:
    """Lay the job out in memory; the same spec gives the same bytes."""
    rng = random.Random(spec.seed)
    strides = _strides(spec, rng)
    regions, n_bytes = _place(rng, _region_sizes(spec, strides), spec.config.beat_bytes)
    image = JobImage(bytearray(rng.randbytes(n_bytes)), regions["descriptor"][0], spec.config, regions)
    _write_rows(image, "q", spec, rng, 0, 1)
    for plane, stride in strides.items():
        _write_rows(image, plane, spec, rng, stride, spec.total_heads)
    tokens = _old_words(rng, spec.old, spec.n_slots, 32)
    struct.pack_into(f"<{spec.n_slots}I", image.memory, regions["token_importance"][0], *tokens)
    heads = _old_words(rng, spec.old, spec.total_heads, 48)
    struct.pack_into(f"<{spec.total_heads}Q", image.memory, regions["head_importance"][0], *heads)
    start, size = regions["descriptor"]
    image.memory[start : start + size] = _header(spec, regions, strides) + _table_bytes(spec)
    return image
