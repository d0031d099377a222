# SPDX-License-Identifier: BSD-2-Clause
"""The score buffer keeps rows apart, adds a second pass to the first, and gives distances to the maximum."""

from __future__ import annotations

import random

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.scores import ScoreBuffer
from spatten_fpga.sim import Bench

SLOTS = 4
CONFIGS = {
    "one key a word": AcceleratorConfig(lanes=16, max_sequence=64, kv_buffer_rows=64),
    "four keys a word": AcceleratorConfig(lanes=128, max_sequence=64, kv_buffer_rows=64),
}


class Rows:
    """A bench with the words of rows packed and unpacked."""

    def __init__(self, config: AcceleratorConfig) -> None:
        geometry = Geometry(config)
        self.lanes, self.bits = geometry.keys_a_word, geometry.score_bits
        dut = ScoreBuffer(geometry, SLOTS)
        self.bench = Bench(
            dut,
            {"sink": dut.sink, "replay": dut.replay},
            {"finished": dut.finished, "source": dut.source},
        )

    def words(self, slot: int, scores: list[int], add: int = 0) -> list[dict[str, int]]:
        """A pass as tokens; lanes that are not valid hold the largest score there is."""
        found = []
        for start in range(0, len(scores), self.lanes):
            part = scores[start : start + self.lanes]
            full = part + [(1 << self.bits - 1) - 1] * (self.lanes - len(part))
            word = sum((score & (1 << self.bits) - 1) << self.bits * lane for lane, score in enumerate(full))
            last = start + self.lanes >= len(scores)
            found.append({"scores": word, "count": len(part), "slot": slot, "add": add, "last": last})
        return found

    def keys(self, slot: int, scores: dict[int, int]) -> list[dict[str, int]]:
        """A second pass key by key: scores by place."""
        whole = sum(1 << self.bits * lane for lane in range(self.lanes))
        mask, common = (1 << self.bits) - 1, {"slot": slot, "add": 1, "placed": 1}
        return [
            {"scores": (score & mask) * whole, "place": place, "last": int(place == max(scores)), **common}
            for place, score in scores.items()
        ]

    def store(
        self, passes: list[dict[str, int]], offer: float, take: float, seed: int
    ) -> list[dict[str, int]]:
        ends = sum(word["last"] for word in passes)
        run = self.bench.run({"sink": passes}, {"finished": ends}, offer=offer, take=take, seed=seed)
        return run.tokens["finished"]

    def replay(self, row: dict[str, int], take: float, seed: int) -> list[int]:
        token = {name: row[name] for name in ("slot", "words", "tail", "maximum")}
        run = self.bench.run({"replay": [token]}, {"source": row["words"]}, take=take, seed=seed)
        words = run.tokens["source"]
        assert [word["last"] for word in words] == [0] * (len(words) - 1) + [1]
        assert {word["slot"] for word in words} == {row["slot"]}
        mask = (1 << self.bits) - 1
        return [word["distances"] >> self.bits * i & mask for word in words for i in range(word["count"])]


@pytest.fixture(scope="module", params=CONFIGS)
def rows(request: pytest.FixtureRequest) -> Rows:
    return Rows(CONFIGS[request.param])


def some_scores(draws: random.Random, count: int, bits: int) -> list[int]:
    """Scores that cover the whole range, a narrow one, or are all equal."""
    reach = draws.choice([1, 1 << 8, 1 << bits - 2])
    return [draws.randrange(-reach, reach) for _ in range(count)]


@pytest.mark.parametrize("seed", range(12))
def test_distances_of_one_and_of_two_passes(rows: Rows, seed: int) -> None:
    draws = random.Random(seed)
    rows.bench.reset()
    offer, take = draws.choice([(1.0, 1.0), (0.6, 0.4)])
    kept = {slot: some_scores(draws, draws.randint(1, 64), rows.bits) for slot in range(SLOTS)}
    first = [word for slot, scores in kept.items() for word in rows.words(slot, scores)]
    ends = rows.store(first, offer, take, seed)
    for slot in draws.sample(range(SLOTS), 2):
        more = [draws.randrange(1 << 18) for _ in kept[slot]]
        (ends[slot],) = rows.store(rows.words(slot, more, add=1), offer, take, seed)
        kept[slot] = [a + b for a, b in zip(kept[slot], more, strict=True)]
    for slot in draws.sample(range(SLOTS), SLOTS):
        scores, end = kept[slot], ends[slot]
        assert end["slot"] == slot
        assert end["maximum"] == max(scores) & (1 << rows.bits) - 1
        assert rows.replay(end, take, seed) == [max(scores) - score for score in scores]


@pytest.mark.parametrize("seed", range(12))
def test_a_second_pass_of_some_keys(rows: Rows, seed: int) -> None:
    """The others stay as they are, may be above the new maximum, and have distance 0 then."""
    draws = random.Random(seed)
    rows.bench.reset()
    offer, take = draws.choice([(1.0, 1.0), (0.6, 0.4)])
    length = draws.randint(1, 64)
    kept = {slot: some_scores(draws, length, rows.bits - 1) for slot in range(SLOTS)}
    rows.store(
        [word for slot, scores in kept.items() for word in rows.words(slot, scores)], offer, take, seed
    )
    picked = {slot: sorted(draws.sample(range(length), draws.randint(1, length))) for slot in kept}
    tokens = []
    for slot, places in picked.items():
        more = {place: draws.randrange(-(1 << rows.bits - 3), 1 << 8) for place in places}
        for place, score in more.items():
            kept[slot][place] += score
        tokens += rows.keys(slot, more)
    for slot, end in enumerate(rows.store(tokens, offer, take, seed)):
        largest = max(kept[slot][place] for place in picked[slot])
        assert end["slot"] == slot
        assert end["maximum"] == largest & (1 << rows.bits) - 1
        assert rows.replay(end, take, seed) == [max(0, largest - score) for score in kept[slot]]


def test_a_row_is_stored_while_another_is_replayed(rows: Rows) -> None:
    draws = random.Random(99)
    rows.bench.reset()
    old, kept, new = ([draws.randrange(-999, 999) for _ in range(64)] for _ in range(3))
    ends = rows.store([*rows.words(0, old), *rows.words(1, kept)], 1.0, 1.0, 0)
    token = {name: ends[0][name] for name in ("slot", "words", "tail", "maximum")}
    passes = [*rows.words(1, new, add=1), *rows.words(2, new)]
    run = rows.bench.run(
        {"replay": [token], "sink": passes}, {"source": ends[0]["words"], "finished": 2}, offer=0.7, take=0.7
    )
    mask = (1 << rows.bits) - 1
    found = [w["distances"] >> rows.bits * i & mask for w in run.tokens["source"] for i in range(w["count"])]
    assert found == [max(old) - score for score in old]
    both = [a + b for a, b in zip(kept, new, strict=True)]
    assert rows.replay(run.tokens["finished"][0], 1.0, 0) == [max(both) - score for score in both]
    assert rows.replay(run.tokens["finished"][1], 1.0, 0) == [max(new) - score for score in new]


def test_one_word_a_cycle(rows: Rows) -> None:
    rows.bench.reset()
    scores = list(range(64))
    words = rows.words(0, scores)
    run = rows.bench.run({"sink": words}, {"finished": 1})
    assert run.cycles["sink"] == list(range(len(words)))
    assert run.cycles["finished"] == [len(words) - 1 + 4 + (rows.lanes - 1).bit_length()]
    token = {k: v for k, v in run.tokens["finished"][0].items() if k not in ("first", "last")}
    run = rows.bench.run({"replay": [token]}, {"source": len(words)})
    assert run.cycles["source"] == list(range(2, 2 + len(words)))
