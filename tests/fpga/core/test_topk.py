# SPDX-License-Identifier: BSD-2-Clause
"""The top-k engine against a sort, with exact cycles."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import cache

import pytest

from spatten_fpga.core.topk import TopK
from spatten_fpga.sim.bench import Bench, Run, gaps

Set = tuple[list[int], int]  # values, how many to keep
SHAPES = [(16, 16, 1024), (4, 33, 512), (1, 16, 64), (32, 3, 80)]  # parallelism, width, depth
BOUNDS = [
    (204, 40, 70),
    (307, 92, 95),
    (614, 184, 162),
    (921, 184, 208),
    (993, 307, 247),
    (1024, 512, 248),
]


class Engine:
    """A bench around an engine of one shape."""

    def __init__(self, parallelism: int, width: int, depth: int) -> None:
        self.parallelism, self.width, self.depth = parallelism, width, depth
        dut = TopK(parallelism, width, depth)
        self.bench = Bench(dut, {"sink": dut.sink}, {"source": dut.source})

    def beats(self, n: int) -> int:
        return -(-n // self.parallelism)

    def cycles(self, n: int) -> int:
        return TopK.cycles(n, self.parallelism, self.width, self.depth)

    def run(self, sets: Sequence[Set], *, offer: float = 1.0, take: float = 1.0, seed: int = 0) -> Run:
        """Send the sets one behind the other; the answer must be the right one."""
        draws = random.Random(seed)
        tokens = []
        for values, k in sets:
            n = len(values)
            garbage = [draws.getrandbits(self.width) for _ in range(-n % self.parallelism)]
            rows = self.rows(values + garbage)
            tokens += [
                {"values": row, "n": n, "k": k, "last": int(b == len(rows) - 1)} for b, row in enumerate(rows)
            ]
        run = self.bench.run({"sink": tokens}, {"source": len(tokens)}, offer=offer, take=take, seed=seed)
        answers = run.tokens["source"]
        assert [token["values"] for token in answers] == [token["values"] for token in tokens]
        assert [token["last"] for token in answers] == [token["last"] for token in tokens]
        found = [
            [i for i in range(self.parallelism) if token["keep"] >> i & 1] for token in run.tokens["source"]
        ]
        for values, k in sets:
            mine, found = found[: self.beats(len(values))], found[self.beats(len(values)) :]
            kept = [b * self.parallelism + lane for b, lanes in enumerate(mine) for lane in lanes]
            assert kept == sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:k])
        return run

    def rows(self, values: Sequence[int]) -> list[int]:
        p = self.parallelism
        return [
            sum(value << self.width * i for i, value in enumerate(values[at : at + p]))
            for at in range(0, len(values), p)
        ]


@cache
def built(parallelism: int, width: int, depth: int) -> Engine:
    return Engine(parallelism, width, depth)


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def engine(request: pytest.FixtureRequest) -> Engine:
    return built(*request.param)


@pytest.fixture(scope="module")
def reference() -> Engine:
    return built(16, 16, 1024)


def shapes_of_data(width: int, n: int, draws: random.Random) -> dict[str, list[int]]:
    """Sets of n values that are hard in different ways."""
    top = (1 << width) - 1
    spread = [draws.getrandbits(width) for _ in range(n)]
    near = draws.getrandbits(width)
    return {
        "random": spread,
        "all equal": [near] * n,
        "sorted": sorted(spread),
        "reversed": sorted(spread, reverse=True),
        "all 0": [0] * n,
        "all greatest": [top] * n,
        "extremes": [draws.choice([0, top]) for _ in range(n)],
        "few levels": [draws.choice([near, near ^ 1, near ^ (1 << (width - 1))]) for _ in range(n)],
        "neighbours": [near ^ draws.getrandbits(min(3, width)) for _ in range(n)],
        "one digit apart": [
            near ^ draws.getrandbits(2) << 4 * draws.randrange(-(-width // 4)) & top for _ in range(n)
        ],
        "decaying": [min(top, round(top * 2 ** -draws.uniform(0, width + 2))) for _ in range(n)],
    }


@pytest.mark.parametrize(("n", "k", "bound"), BOUNDS)
def test_cycles_at_16_values_a_cycle(reference: Engine, n: int, k: int, bound: int) -> None:
    draws = random.Random(n)
    for name, values in shapes_of_data(16, n, draws).items():
        run = reference.run([(values, k)])
        taken = run.cycles["source"][-1] - run.cycles["sink"][0] + 1
        assert (name, run.cycles["sink"][0]) == (name, 0)
        assert taken == reference.cycles(n) < bound, name
        survivors = [
            t for t, token in zip(run.cycles["source"], run.tokens["source"], strict=True) if token["keep"]
        ]
        assert survivors[-1] + 1 < bound


def test_cycles_follow_the_formula(engine: Engine) -> None:
    draws = random.Random(2)
    p, depth = engine.parallelism, engine.depth
    sizes = {1, 2, p, p + 1, 3 * p, 3 * p + 1, depth - 1, depth} & set(range(1, depth + 1))
    for n in [*sorted(sizes), *(draws.randint(1, depth) for _ in range(40))]:
        values = [draws.getrandbits(engine.width) for _ in range(n)]
        run = engine.run([(values, draws.randint(1, n))])
        assert run.cycles["sink"] == list(range(engine.beats(n))), n
        assert run.cycles["source"][-1] + 1 == engine.cycles(n), n
        last = run.cycles["source"][-1]
        assert run.cycles["source"] == list(range(last - engine.beats(n) + 1, last + 1)), n


def test_sets_overlap(engine: Engine) -> None:
    draws = random.Random(3)
    for n in (1, engine.depth // 3, engine.depth):
        values = [draws.getrandbits(engine.width) for _ in range(n)]
        run = engine.run([(values, 1 + n // 3)] * 4)
        starts = run.cycles["sink"][:: engine.beats(n)]
        period = TopK.period(n, engine.parallelism, engine.width, engine.depth)
        found = [b - a for a, b in itertools.pairwise(starts)]
        assert found[0] <= period  # the first set finds the second half idle
        assert found[1:] == [period] * 2


@pytest.mark.parametrize("seed", range(6))
def test_every_kind_of_data_with_gaps(engine: Engine, seed: int) -> None:
    draws = random.Random(seed)
    sets: list[Set] = []
    for _ in range(3):
        n = draws.choice([1, 2, draws.randint(1, 40), draws.randint(1, engine.depth), engine.depth])
        n = min(n, engine.depth)
        sets += [
            (values, draws.choice([1, n, draws.randint(1, n), max(1, n // 2)]))
            for values in shapes_of_data(engine.width, n, draws).values()
        ]
    draws.shuffle(sets)
    engine.run(sets, offer=gaps(3 * seed + 1), take=gaps(3 * seed + 2), seed=seed)


def test_small_sets_exhaustively(engine: Engine) -> None:
    """All orders of few levels, every k: ties lie across beats and words."""
    sets: list[Set] = []
    for n in range(1, 3 * engine.parallelism + 3):
        draws = random.Random(n)
        values = [draws.choice([5, 6, 7]) for _ in range(n)]
        sets += [(values, k) for k in range(1, n + 1)]
    random.Random(4).shuffle(sets)
    engine.run(sets[:400])


def test_long_stall_of_the_source(engine: Engine) -> None:
    """A slow consumer holds a set back; the one behind it must not disturb it."""
    draws = random.Random(5)
    sets = []
    for _ in range(12):
        n = draws.choice([1, engine.parallelism + 1, engine.depth // 4])
        sets.append(([draws.getrandbits(2) for _ in range(n)], draws.randint(1, n)))
    engine.run(sets, take=0.03, seed=6)


def test_parallelism_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="a top-k engine takes a power of two values a cycle, not 12"):
        TopK(12, 16, 64)
