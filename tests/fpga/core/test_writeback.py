# SPDX-License-Identifier: BSD-2-Clause
"""Write-back: what lies in memory afterwards, for every width of element and beat."""

from __future__ import annotations

import random
from functools import cache

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.writeback import WriteBack
from spatten_fpga.sim.bench import Bench, gaps

# beat bytes, element bits, elements of a token: outputs of 64 and of 512 lanes, lists, both importances
SHAPES = [(16, 16, 1), (4, 16, 4), (64, 32, 1), (4, 64, 1)]


@cache
def bench(beat: int, bits: int, elements: int) -> Bench:
    dut = WriteBack(Geometry(AcceleratorConfig(beat_bytes=beat)), bits, elements)
    return Bench(
        dut,
        {"sink": dut.sink},
        {"source": dut.source},
        inputs={"start": dut.start, "base": dut.base},
        outputs={"busy": dut.busy},
    )


def begin(dut: Bench, base: int) -> None:
    dut.set("base", base)
    dut.set("start", 1)
    dut.tick()
    dut.set("start", 0)


def tokens_of(rows: list[list[int]], bits: int, elements: int) -> list[dict[str, int]]:
    tokens = []
    for row in rows:
        for at in range(0, len(row), elements):
            data = sum(element << bits * i for i, element in enumerate(row[at : at + elements]))
            tokens.append({"data": data, "last": int(at + elements == len(row))})
    return tokens


def beats_of(rows: list[list[int]], base: int, bits: int, beat: int) -> list[dict[str, int]]:
    """Rows one after the other, each padded with zeros to a beat."""
    found: list[dict[str, int]] = []
    for row in rows:
        raw = b"".join(element.to_bytes(bits // 8, "little") for element in row)
        raw = raw.ljust(-(-len(raw) // beat) * beat, b"\0")
        for at in range(0, len(raw), beat):
            data = int.from_bytes(raw[at : at + beat], "little")
            last = int(at + beat == len(raw))
            found.append({"address": base + len(found), "data": data, "first": 0, "last": last})
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows(shape: tuple[int, int, int]) -> None:
    beat, bits, elements = shape
    dut = bench(*shape)
    for seed in range(40):
        rng = random.Random(seed)
        lengths = [
            elements * rng.choice((1, 2, 7, 8, 24, rng.randint(1, 40))) for _ in range(rng.randint(1, 8))
        ]
        rows = [[rng.getrandbits(bits) for _ in range(length)] for length in lengths]
        base = rng.choice((0, (1 << 32) // beat - 4000, rng.randrange((1 << 32) // beat - 4000)))
        expected = beats_of(rows, base, bits, beat)
        assert not dut.get("busy")
        begin(dut, base)
        run = dut.run(
            {"sink": tokens_of(rows, bits, elements)},
            {"source": len(expected)},
            offer=gaps(seed),
            take=gaps(seed + 1000),
            seed=seed,
        )
        assert run.tokens["source"] == expected


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_token_a_cycle(shape: tuple[int, int, int]) -> None:
    """Or a beat a cycle if that is less; a beat comes right after its last token."""
    beat, bits, elements = shape
    dut = bench(*shape)
    row = [1] * (elements * 128)
    expected = beats_of([row] * 2, 0, bits, beat)
    begin(dut, 0)
    run = dut.run({"sink": tokens_of([row] * 2, bits, elements)}, {"source": len(expected)})
    parts = max(1, bits * elements // (8 * beat))
    share = max(1, 8 * beat // (bits * elements))
    start = run.cycles["source"][0]
    assert run.cycles["source"] == [start + share * i for i in range(len(expected))]
    assert run.cycles["sink"][-1] == 256 * parts - 1
    assert run.cycles["source"][-1] == 256 * parts


def test_busy() -> None:
    dut = bench(16, 16, 1)
    begin(dut, 0)
    dut.run({"sink": [{"data": 5}]}, {})
    assert dut.get("busy")
    run = dut.run({"sink": [{"data": 6, "last": 1}]}, {"source": 1})
    assert run.tokens["source"] == [{"address": 0, "data": 6 << 16 | 5, "first": 0, "last": 1}]
    assert not dut.get("busy")
