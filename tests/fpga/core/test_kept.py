# SPDX-License-Identifier: BSD-2-Clause
"""Masked beats become words of weights: in their places with V on chip, close together with V streamed."""

from __future__ import annotations

import random

import pytest
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.kept import AlignedWeights, CompactWeights
from spatten_fpga.sim import Bench

SEQUENCE = 64
CONFIGS = {
    "one key a word, beats of 4": {"lanes": 16, "topk_parallelism": 4},
    "four keys a word, beats of 16": {"lanes": 128, "topk_parallelism": 16},
}


class Both(LiteXModule):
    """The two ways, and the one of token importance, side by side: one build."""

    def __init__(self, geometry: Geometry) -> None:
        self.aligned, self.compact = AlignedWeights(geometry), CompactWeights(geometry)
        self.whole = AlignedWeights(geometry, masked=False)


class Words:
    """The bench, and rows as beats."""

    def __init__(self, lanes: int, topk_parallelism: int) -> None:
        config = AcceleratorConfig(
            lanes=lanes, topk_parallelism=topk_parallelism, max_sequence=SEQUENCE, kv_buffer_rows=SEQUENCE
        )
        self.geometry = Geometry(config)
        self.parallel = topk_parallelism
        dut = Both(self.geometry)
        ways = {"aligned": dut.aligned, "compact": dut.compact, "whole": dut.whole}
        self.bench = Bench(
            dut,
            {
                **{f"{name}_in": way.sink for name, way in ways.items()},
                "aligned_row": dut.aligned.row,
                "whole_row": dut.whole.row,
            },
            {**{name: way.source for name, way in ways.items()}, "index": dut.compact.index},
            inputs={f"{name}_keys": way.keys for name, way in ways.items()},
        )

    def setup(self, keys: int) -> None:
        self.bench.reset()
        for name in ("aligned", "compact", "whole"):
            self.bench.set(f"{name}_keys", keys)

    def beats(self, weights: list[int], kept: set[int]) -> list[dict[str, int]]:
        """The row as the top-k engine gives it; what lies behind its end is noise."""
        found = []
        for start in range(0, len(weights), self.parallel):
            part = weights[start : start + self.parallel]
            part += [0xBEEF] * (self.parallel - len(part))
            values = sum(weight << 16 * lane for lane, weight in enumerate(part))
            keep = sum((start + lane in kept) << lane for lane in range(self.parallel))
            found.append({"values": values, "keep": keep, "last": start + self.parallel >= len(weights)})
        return found


def words_of(weights: list[int], keys: int) -> list[tuple[int, int, int]]:
    """(weights, count, last) of the words that these weights fill."""
    cut = [weights[start : start + keys] for start in range(0, len(weights), keys)]
    return [
        (sum(weight << 16 * lane for lane, weight in enumerate(part)), len(part), int(i == len(cut) - 1))
        for i, part in enumerate(cut)
    ]


def found_words(tokens: list[dict[str, int]]) -> list[tuple[int, int, int]]:
    return [(token["weights"], token["count"], token["last"]) for token in tokens]


@pytest.fixture(scope="module", params=CONFIGS)
def words(request: pytest.FixtureRequest) -> Words:
    return Words(**CONFIGS[request.param])


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_any_length_and_mask(words: Words, seed: int) -> None:
    draws = random.Random(seed)
    keys = draws.choice([k for k in (1, 2, 4) if k <= words.geometry.keys_a_word])
    n = draws.choice([1, draws.randint(1, SEQUENCE), SEQUENCE])
    rows = [[draws.randrange(65536) for _ in range(n)] for _ in range(4)]
    masks = [set(draws.sample(range(n), draws.choice([1, n, draws.randint(1, n)]))) for _ in rows]
    beats = [beat for row, mask in zip(rows, masks, strict=True) for beat in words.beats(row, mask)]
    aligned = [
        word
        for row, mask in zip(rows, masks, strict=True)
        for word in words_of([weight if j in mask else 0 for j, weight in enumerate(row)], keys)
    ]
    compact = [
        word
        for row, mask in zip(rows, masks, strict=True)
        for word in words_of([row[j] for j in sorted(mask)], keys)
    ]
    whole = [word for row in rows for word in words_of(row, keys)]
    index = [(j, int(j == max(mask))) for mask in masks for j in sorted(mask)]

    words.setup(keys)
    lengths = [{"n": n}] * 4
    offer, take = draws.choice(((1.0, 1.0), (0.7, 0.5)))
    run = words.bench.run(
        {
            "aligned_in": beats,
            "compact_in": beats,
            "whole_in": beats,
            "aligned_row": lengths,
            "whole_row": lengths,
        },
        {"aligned": len(aligned), "compact": len(compact), "whole": len(whole), "index": len(index)},
        offer=offer,
        take=take,
        seed=seed,
    )
    assert found_words(run.tokens["aligned"]) == aligned
    assert found_words(run.tokens["compact"]) == compact
    assert found_words(run.tokens["whole"]) == whole
    assert [(token["index"], token["last"]) for token in run.tokens["index"]] == index


def test_aligned_words_leave_one_a_cycle(words: Words) -> None:
    keys = words.geometry.keys_a_word
    words.setup(keys)
    beats = words.beats([1] * SEQUENCE, set(range(SEQUENCE))) * 3
    count = 3 * SEQUENCE // keys
    run = words.bench.run({"aligned_in": beats, "aligned_row": [{"n": SEQUENCE}] * 3}, {"aligned": count})
    assert run.cycles["aligned"] == list(range(1, 1 + count))


def test_compact_takes_a_cycle_for_each_kept_weight(words: Words) -> None:
    words.setup(1)
    beats = words.beats([1] * SEQUENCE, set(range(SEQUENCE)))
    run = words.bench.run({"compact_in": beats}, {"compact": SEQUENCE, "index": SEQUENCE})
    assert run.cycles["compact"][-1] - run.cycles["compact"][0] == SEQUENCE - 1
