# SPDX-License-Identifier: BSD-2-Clause
"""The weight buffer sums rows exactly and gives their weights back in beats."""

from __future__ import annotations

import random

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.weight_buffer import WeightBuffer
from spatten_fpga.sim import Bench

SLOTS, SEQUENCE = 4, 64
CONFIGS = {
    "one key a word, beats of 4": {"lanes": 16, "topk_parallelism": 4},
    "four keys a word, beats of 16": {"lanes": 128, "topk_parallelism": 16},
}


def weight_words(weights: list[int], lanes: int) -> list[dict[str, int]]:
    """A row of weights as tokens of ``lanes`` each."""
    found = []
    for start in range(0, len(weights), lanes):
        part = weights[start : start + lanes]
        word = sum(weight << 16 * lane for lane, weight in enumerate(part))
        found.append({"weights": word, "count": len(part), "last": start + lanes >= len(weights)})
    return found


class Buffer:
    """A bench with words packed and beats unpacked; ``limit`` is what the next rows' weights are held to."""

    def __init__(self, lanes: int, topk_parallelism: int) -> None:
        config = AcceleratorConfig(
            lanes=lanes, topk_parallelism=topk_parallelism, max_sequence=SEQUENCE, kv_buffer_rows=SEQUENCE
        )
        geometry = Geometry(config)
        self.lanes, self.parallel, self.limit = geometry.keys_a_word, topk_parallelism, 0
        dut = WeightBuffer(geometry, SLOTS)
        self.bench = Bench(
            dut,
            {"row": dut.row, "sink": dut.sink, "read": dut.read},
            {"summed": dut.summed, "source": dut.source},
            {"limit": dut.limit},
        )

    def store(self, rows: dict[int, list[int]], offer: float = 1.0, take: float = 1.0, seed: int = 0) -> None:
        """Store rows by slot and check what is said of them."""
        tokens = {
            "row": [{"slot": s} for s in rows],
            "sink": [w for r in rows.values() for w in weight_words(r, self.lanes)],
        }
        self.bench.set("limit", self.limit)
        run = self.bench.run(tokens, {"summed": len(rows)}, offer=offer, take=take, seed=seed)
        ends = [{k: v for k, v in end.items() if k not in ("first", "last")} for end in run.tokens["summed"]]
        assert ends == [
            {"slot": s, "keys": len(r), "above": sum(w >= self.limit for w in r), "sum": sum(r)}
            for s, r in rows.items()
        ]

    def check(self, rows: dict[int, list[int]], keep: int, take: float = 1.0, seed: int = 0) -> None:
        """Read rows one after another and compare."""
        reads = [{"slot": slot, "keys": len(row), "k": min(keep, len(row))} for slot, row in rows.items()]
        beats = sum(-(-len(row) // self.parallel) for row in rows.values())
        found = self.bench.run({"read": reads}, {"source": beats}, take=take, seed=seed).tokens["source"]
        for row in rows.values():
            mine, found = found[: -(-len(row) // self.parallel)], found[-(-len(row) // self.parallel) :]
            assert [beat["last"] for beat in mine] == [0] * (len(mine) - 1) + [1]
            assert {(beat["n"], beat["k"]) for beat in mine} == {(len(row), min(keep, len(row)))}
            values = [beat["values"] >> 16 * lane & 65535 for beat in mine for lane in range(self.parallel)]
            assert values[: len(row)] == row


@pytest.fixture(scope="module", params=CONFIGS)
def buffer(request: pytest.FixtureRequest) -> Buffer:
    return Buffer(**CONFIGS[request.param])


@pytest.mark.parametrize("seed", range(8))
def test_rows_of_any_length(buffer: Buffer, seed: int) -> None:
    draws = random.Random(seed)
    buffer.bench.reset()
    buffer.limit = draws.choice((0, 1, draws.randrange(65536), 65535))
    slots = draws.sample(range(SLOTS), SLOTS)
    rows = {s: [draws.randrange(65536) for _ in range(draws.randint(1, SEQUENCE))] for s in slots}
    offer, take = draws.choice(((1.0, 1.0), (0.6, 0.5)))
    buffer.store(rows, offer, take, seed)
    again = draws.choice(slots)  # a row that refetched
    rows[again] = [draws.randrange(65536) for _ in rows[again]]
    buffer.store({again: rows[again]}, offer, take, seed)
    buffer.check(rows, draws.randint(1, SEQUENCE), take, seed)


def test_the_largest_sum(buffer: Buffer) -> None:
    buffer.bench.reset()
    buffer.limit = 65535
    buffer.store({2: [65535] * SEQUENCE})
    buffer.check({2: [65535] * SEQUENCE}, 65535 % SEQUENCE)


def test_one_word_and_one_beat_a_cycle(buffer: Buffer) -> None:
    buffer.bench.reset()
    words = weight_words([1] * SEQUENCE, buffer.lanes)
    run = buffer.bench.run({"row": [{"slot": 0}], "sink": words}, {"summed": 1})
    assert run.cycles["sink"] == list(range(len(words)))
    beats = SEQUENCE // buffer.parallel
    run = buffer.bench.run({"read": [{"slot": 0, "keys": SEQUENCE, "k": 1}]}, {"source": beats})
    assert run.cycles["source"] == list(range(1, 1 + beats))
