# SPDX-License-Identifier: BSD-2-Clause
"""Survivor gather: addresses as section 3 of the contract places the rows."""

from __future__ import annotations

import random
from functools import cache

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.gather import Gather
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.sim.bench import Bench, gaps

LATENCY = 4


@cache
def bench(beat: int) -> Bench:
    dut = Gather(Geometry(AcceleratorConfig(beat_bytes=beat)))
    return Bench(dut, {"sink": dut.sink}, {"source": dut.source})


def beats_of(rows: list[dict[str, int]]) -> list[dict[str, int]]:
    """Every beat of every row, from the definition."""
    found = []
    for row in rows:
        for beat in range(row["row_beats"]):
            closes = int(beat == row["row_beats"] - 1)
            found.append(
                {
                    "address": row["base"] + row["slot"] * row["row_beats"] + beat,
                    "last_beat": closes,
                    "last": closes & row["last"],
                    "first": 0,
                    "tag": row["tag"],
                }
            )
    return found


def random_rows(rng: random.Random, beat: int, row_beats: int | None, count: int) -> list[dict[str, int]]:
    end = (1 << 32) // beat
    rows = []
    for _ in range(count):
        size = row_beats or rng.choice((1, 1, 2, 3, 4, rng.randint(1, 64), 64))
        slot = rng.choice((0, 1, 1023, rng.randrange(1024)))
        room = end - (slot + 1) * size
        base = rng.choice((0, room, rng.randrange(room)))
        last = int(rng.random() < 0.2)
        rows.append({"slot": slot, "base": base, "row_beats": size, "tag": rng.randrange(16), "last": last})
    return rows


@pytest.mark.parametrize("beat", [4, 64])
def test_addresses(beat: int) -> None:
    dut = bench(beat)
    for seed in range(40):
        rng = random.Random(seed)
        rows = random_rows(rng, beat, rng.choice((None, None, 1, 2)), rng.randint(1, 40))
        expected = beats_of(rows)
        run = dut.run(
            {"sink": rows},
            {"source": len(expected)},
            offer=gaps(seed),
            take=gaps(seed + 1000),
            seed=seed,
        )
        assert run.tokens["source"] == expected


@pytest.mark.parametrize("row_beats", [1, 2, 3, 64])
def test_one_address_a_cycle(row_beats: int) -> None:
    dut = bench(4)
    rows = random_rows(random.Random(row_beats), 4, row_beats, 20)
    count = 20 * row_beats
    run = dut.run({"sink": rows}, {"source": count})
    start = run.cycles["sink"][0] + LATENCY
    assert run.cycles["source"] == list(range(start, start + count))
