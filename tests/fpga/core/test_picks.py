# SPDX-License-Identifier: BSD-2-Clause
"""Keys above a share of their row's sum are picked, and the scores of their LSBs get these keys' places."""

from __future__ import annotations

import random

import pytest
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.picks import KeyPick, PlaceScores
from spatten_fpga.core.weight_buffer import WeightBuffer
from spatten_fpga.sim import Bench

from .test_weight_buffer import weight_words

SLOTS, SEQUENCE = 4, 64
CONFIGS = {
    "one key a word, beats of 1": {"lanes": 16, "topk_parallelism": 1},
    "one key a word, beats of 4": {"lanes": 16, "topk_parallelism": 4},
    "four keys a word, beats of 16": {"lanes": 128, "topk_parallelism": 16},
}
Row = tuple[int, list[int]]


class Units(LiteXModule):
    """The pick behind the buffer that it reads, and the unit that places scores: one build."""

    def __init__(self, geometry: Geometry) -> None:
        self.buffer, self.pick = buffer, pick = WeightBuffer(geometry, SLOTS), KeyPick(geometry, SLOTS)
        self.place = PlaceScores(geometry, SLOTS)
        self.comb += [
            buffer.summed.connect(pick.sink),
            pick.read.connect(buffer.read),
            buffer.source.connect(pick.beats),
            self.place.by_key.eq(pick.by_key),
        ]


class Picks:
    """The bench, and what it must give."""

    def __init__(self, lanes: int, topk_parallelism: int) -> None:
        config = AcceleratorConfig(
            lanes=lanes, topk_parallelism=topk_parallelism, max_sequence=SEQUENCE, kv_buffer_rows=SEQUENCE
        )
        self.geometry = geometry = Geometry(config)
        self.lanes, self.parallel = geometry.keys_a_word, topk_parallelism
        dut = Units(geometry)
        self.bench = Bench(
            dut,
            {
                "row": dut.buffer.row,
                "weights": dut.buffer.sink,
                "scores": dut.place.sink,
                "places": dut.place.index,
            },
            {"index": dut.pick.index, "told": dut.pick.source, "placed": dut.place.source},
            inputs={"by_key": dut.pick.by_key, "shift": dut.pick.shift},
        )

    def setup(self, by_key: int, shift: int = 0) -> None:
        self.bench.reset()
        self.bench.set("by_key", by_key)
        self.bench.set("shift", shift)

    def check(self, passes: list[Row], picks: list[list[int]], **pace: float) -> dict[str, list[int]]:
        """Passes of rows in order, and the places that each must pick; answers the cycles of handshakes."""
        run = self.bench.run(
            {
                "row": [{"slot": slot} for slot, _ in passes],
                "weights": [word for _, row in passes for word in weight_words(row, self.lanes)],
            },
            {"index": sum(map(len, picks)), "told": len(passes)},
            **pace,
        )
        assert [token["index"] for token in run.tokens["index"]] == [place for one in picks for place in one]
        told = [tuple(t[name] for name in ("slot", "keys", "sum", "picked")) for t in run.tokens["told"]]
        assert told == [
            (slot, len(row), sum(row), len(places)) for (slot, row), places in zip(passes, picks, strict=True)
        ]
        ends = [sum(map(len, picks[: i + 1])) for i in range(len(picks))]
        for cycle, end in zip(run.cycles["told"], ends, strict=True):  # a row is told after its places
            assert end == 0 or run.cycles["index"][end - 1] < cycle
        return run.cycles


@pytest.fixture(scope="module", params=CONFIGS)
def picks(request: pytest.FixtureRequest) -> Picks:
    return Picks(**CONFIGS[request.param])


def above(weights: list[int], shift: int) -> list[int]:
    return [place for place, weight in enumerate(weights) if weight > sum(weights) >> shift]


def some_weights(draws: random.Random) -> list[int]:
    """A row: a few keys far above the others, all much the same, or all equal."""
    count, reach = draws.choice((1, SEQUENCE, draws.randint(1, SEQUENCE))), draws.choice((16, 12, 4))
    if draws.randrange(4) == 0:
        return [draws.choice((1, 65535))] * count
    return [draws.getrandbits(draws.randint(1, reach)) for _ in range(count)]


@pytest.mark.parametrize("shift", range(1, 17))
def test_rows_of_every_share(picks: Picks, shift: int) -> None:
    """Four rows, and a second pass of those that refetch, whose new weights are not looked at."""
    draws = random.Random(shift)
    picks.setup(1, shift)
    rows = {slot: some_weights(draws) for slot in draws.sample(range(SLOTS), SLOTS)}
    first = [above(row, shift) for row in rows.values()]
    offer, take = draws.choice(((1.0, 1.0), (0.7, 0.4)))
    picks.check(list(rows.items()), first, offer=offer, take=take, seed=shift)
    second = [
        (slot, [65535, *row[1:]]) for (slot, row), found in zip(rows.items(), first, strict=True) if found
    ]
    picks.check(second, [[] for _ in second], offer=offer, take=take, seed=shift)
    again = [(slot, some_weights(draws)) for slot in rows]  # the next rows of the same slots
    picks.check(again, [above(row, shift) for _, row in again], offer=offer, take=take, seed=shift)


def test_a_weight_must_be_above_the_share(picks: Picks) -> None:
    picks.setup(1, 2)
    for row in ([8, 8, 8, 8], [9, 8, 8, 7], [9, 8, 8, 8], [65535] * 4, [65535] * 3, [0, 0, 0, 1], [1]):
        picks.check([(1, row)], [found := above(row, 2)])
        if found:
            picks.check([(1, row)], [[]])
    assert (above([8] * 4, 2), above([9, 8, 8, 7], 2), above([9, 8, 8, 8], 2)) == ([], [0], [0])


def test_sums_go_by_in_the_same_cycle_in_other_jobs(picks: Picks) -> None:
    picks.setup(0)
    row = [65535] + [1] * (SEQUENCE - 1)
    last_word = -(-SEQUENCE // picks.lanes) - 1
    cycles = picks.check([(2, row)], [[]])
    assert cycles["told"] == [last_word + 1 + (picks.lanes - 1).bit_length()]


def test_cycles_of_a_pick(picks: Picks) -> None:
    """A row without a pick takes 5 cycles and its beats; a picked key more, but the first of a beat."""
    beats, words = SEQUENCE // picks.parallel, -(-SEQUENCE // picks.lanes)
    start = words + (picks.lanes - 1).bit_length()
    picks.setup(1, 1)
    assert picks.check([(0, [1] * SEQUENCE)], [[]])["told"] == [start + 5 + beats]
    picks.setup(1, 16)
    cycles = picks.check([(0, [1] * SEQUENCE)], [list(range(SEQUENCE))])
    assert cycles["told"] == [start + 5 + SEQUENCE]
    assert cycles["index"] == list(range(start + 5, start + 5 + SEQUENCE))


# Places of scores -----------------------------------------------------------------------------------


def score_words(picks: Picks, scores: list[int], slot: int, add: int) -> list[dict[str, int]]:
    """A pass as tokens; lanes that are not valid hold noise."""
    bits, found = picks.geometry.score_bits, []
    for start in range(0, len(scores), picks.lanes):
        part = scores[start : start + picks.lanes]
        full = part + [(1 << bits) - 1] * (picks.lanes - len(part))
        word = sum(score << bits * lane for lane, score in enumerate(full))
        last = start + picks.lanes >= len(scores)
        found.append({"scores": word, "count": len(part), "slot": slot, "add": add, "last": last})
    return found


@pytest.mark.parametrize("seed", range(6))
def test_second_passes_come_key_by_key(picks: Picks, seed: int) -> None:
    draws = random.Random(seed)
    picks.setup(1)
    bits, lanes = picks.geometry.score_bits, picks.lanes
    tokens, expected, places = [], [], []
    for slot in (0, 1, 0, 2, 1):
        add = draws.randrange(2)
        scores = [draws.getrandbits(bits) for _ in range(draws.randint(1, 20))]
        words = score_words(picks, scores, slot, add)
        tokens += words
        if not add:
            expected += [(w["scores"], w["last"], 0) for w in words]
            continue
        chosen = sorted(draws.sample(range(SEQUENCE), len(scores)))
        places += [{"index": place} for place in chosen]
        whole = [sum(score << bits * lane for lane in range(lanes)) for score in scores]
        ends = [int(i == len(scores) - 1) for i in range(len(scores))]
        expected += [(*one, place + 1) for *one, place in zip(whole, ends, chosen, strict=True)]
    offer, take = draws.choice(((1.0, 1.0), (0.6, 0.7)))
    run = picks.bench.run(
        {"scores": tokens, "places": places}, {"placed": len(expected)}, offer=offer, take=take, seed=seed
    )
    found = run.tokens["placed"]
    assert [(t["scores"], t["last"], t["placed"] and t["place"] + 1) for t in found] == expected


def test_a_key_a_cycle(picks: Picks) -> None:
    picks.setup(1)
    tokens = score_words(picks, [5] * 12, 3, 1)
    run = picks.bench.run({"scores": tokens, "places": [{"index": i} for i in range(12)]}, {"placed": 12})
    assert run.cycles["placed"] == list(range(12))
    assert {token["slot"] for token in run.tokens["placed"]} == {3}


def test_second_passes_of_other_jobs_stay_words(picks: Picks) -> None:
    picks.setup(0)
    tokens = score_words(picks, list(range(1, 20)), 1, 1)
    run = picks.bench.run({"scores": tokens}, {"placed": len(tokens)})
    assert [(t["scores"], t["count"], t["placed"]) for t in run.tokens["placed"]] == [
        (t["scores"], t["count"], 0) for t in tokens
    ]
    assert run.cycles["placed"] == list(range(len(tokens)))
