# SPDX-License-Identifier: BSD-2-Clause
"""Visible keys against the definition: all live keys, or if causal those with ``slot <= qslot``."""

import random
from functools import cache

import pytest
from litex.gen import LiteXModule

from spatten_drivers.config import PRESETS
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.visible import VisibleKeys
from spatten_fpga.sim.bench import Bench, Run, gaps

from .key_list import KeyList

GEOMETRY = Geometry(PRESETS["ecp5-85f"])
SLOTS = GEOMETRY.config.max_sequence


class VisibleWithList(LiteXModule):
    """The unit with a key list."""

    def __init__(self, geometry: Geometry) -> None:
        self.visible = visible = VisibleKeys(geometry)
        self.list = KeyList(geometry, visible.list_index, visible.list_word)
        self.fill = self.list.fill


@cache
def bench() -> Bench:
    dut = VisibleWithList(GEOMETRY)
    unit = dut.visible
    return Bench(
        dut,
        {"fill": dut.fill, "queries": unit.queries},
        {},
        {name: getattr(unit, name) for name in ("start", "n_keys", "causal", "query_index")},
        {"done": unit.done, "count": unit.count},
    )


def visible(keys: list[int], queries: list[int], causal: bool, seed: int = 0, offer: float = 1) -> Run:
    """A job's lists through the unit, without a reset before; checks the number of every query."""
    unit, draws = bench(), random.Random(seed)
    fill = [{"place": i, "word": slot | draws.getrandbits(1) << 15} for i, slot in enumerate(keys)]
    unit.run({"fill": fill}, {})
    unit.set("n_keys", len(keys))
    unit.set("causal", causal)
    unit.set("start", 1)
    unit.tick()
    unit.set("start", 0)
    tokens = [{"slot": slot, "last": int(i == len(queries) - 1)} for i, slot in enumerate(queries)]
    assert unit.get("done") == 0
    run = unit.run({"queries": tokens}, {}, offer=offer, seed=seed, after=0)
    assert unit.get("done") == 0
    unit.tick()
    assert unit.get("done") == 1  # and its last number can be looked up
    for place in reversed(range(len(queries))):
        unit.set("query_index", place)
        unit.tick()
        expected = sum(key <= queries[place] for key in keys) if causal else len(keys)
        assert unit.get("count") == expected, place
    return run


def slots(draws: random.Random, count: int) -> list[int]:
    return sorted(draws.sample(range(SLOTS), count))


def test_random_lists_and_gaps() -> None:
    for seed in range(40):
        draws = random.Random(seed)
        keys = slots(draws, draws.choice((1, 2, 30, 300, 800)))
        queries = slots(draws, draws.choice((1, 2, 30, 300)))
        visible(keys, queries, seed % 4 != 0, seed, offer=gaps(seed))


@pytest.mark.parametrize("causal", [False, True])
def test_all_slots(causal: bool) -> None:
    visible(list(range(SLOTS)), list(range(SLOTS)), causal)


def test_corner_cases() -> None:
    visible([0], [0], True)
    visible([SLOTS - 1], [SLOTS - 1], True)
    visible([3], [2], True)  # sees none: the descriptor's check rejects it, the unit must end
    visible([5, 6, 7], [0, 1, 2, 3, 4], True)
    visible([5, 6, 7], [5, 6, 7, 8, 9], True)
    visible([5, 9], [5, 6, 7, 8], True)
    visible([0, SLOTS - 1], [SLOTS - 2, SLOTS - 1], True)


def test_lists_out_of_order_end() -> None:
    unit = bench()
    unit.reset()
    unit.run({"fill": [{"place": i, "word": word} for i, word in enumerate((9, 0x7FFF, 2, 60, 5))]}, {})
    unit.set("n_keys", 5)
    unit.set("causal", 1)
    unit.set("start", 1)
    unit.tick()
    unit.set("start", 0)
    queries = [{"slot": slot, "last": int(i == 4)} for i, slot in enumerate((4, 0, 0xFFFF, 3, 4))]
    unit.run({"queries": queries}, {}, limit=50)
    assert unit.get("done") == 1
    visible([1, 2], [1, 2, 3], True)


def test_cycles() -> None:
    draws = random.Random(7)
    keys, queries = slots(draws, 300), slots(draws, 200)
    assert visible(keys, queries, False).cycles["queries"] == list(range(3, 203))
    # a key is passed over once, by the first query that sees it; a query that sees the last one passes none
    passed = 0
    expected = []
    for place, slot in enumerate(queries):
        if slot < keys[-1]:
            passed = sum(key <= slot for key in keys)
        expected.append(3 + place + passed)
    assert visible(keys, queries, True).cycles["queries"] == expected
