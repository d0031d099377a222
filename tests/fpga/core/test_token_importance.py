# SPDX-License-Identifier: BSD-2-Clause
"""Token importance against contract, sections 6.1 and 6.2, in plain integers."""

import random

import pytest

from spatten_fpga.core.token_importance import TokenSums, TokenUpdate
from spatten_fpga.sim.bench import Bench, gaps
from tests.model.oracle_row import round_shift

LARGEST_GAIN = 8 * 131074  # of the shortest row

# Sums ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(4, 1024), (1, 16), (16, 50)], ids=lambda p: f"{p[0]}x{p[1]}")
def sums(request):
    lanes, depth = request.param
    dut = TokenSums(lanes, depth)
    assert dut.latency == 8 + {1: 0, 4: 1, 16: 2}[lanes]
    sinks = {"clear": dut.clear, "sink": dut.sink, "read": dut.read}
    bench = Bench(dut, sinks, {"source": dut.source}, outputs={"done": dut.done})
    return Sums(bench, lanes, depth, dut.latency)


class Sums:
    """A bench that takes rows as (weights, factor, keys a word), and the sums they should give."""

    def __init__(self, bench, lanes, depth, latency):
        self.bench, self.lanes, self.depth, self.latency = bench, lanes, depth, latency
        self.totals = {}

    def clear(self, keys):
        self.bench.reset()
        self.bench.run({"clear": [{"keys": keys}]}, {})
        self.totals = dict.fromkeys(range(keys), 0)

    def words(self, row, junk):
        weights, factor, share = row
        for start in range(0, len(weights), share):
            part = weights[start : start + share]
            packed = junk.getrandbits(16 * self.lanes + 1) >> 1 + 16 * len(part) << 16 * len(part)
            packed += sum(e << 16 * i for i, e in enumerate(part))
            last = start + share >= len(weights)
            keys = list(range(start, start + len(part)))
            yield {"weights": packed, "count": len(part), "gain": factor, "last": last}, (keys, part, factor)

    def check(self, rows, reads, seed, offer=None):
        """Rows and reads at the same time; what a read gives follows from when it was accepted."""
        junk = random.Random(seed)
        words = [word for row in rows for word in self.words(row, junk)]
        tokens = {"sink": [w[0] for w in words], "read": [{"key": k, "last": k & 1} for k in reads]}
        offer = offer or {"sink": gaps(seed), "read": 0.3, "source": gaps(seed + 1)}
        run = self.bench.run(tokens, {"source": len(reads)}, offer=offer, take=gaps(seed + 1), seed=seed)
        events = [(cycle, add) for cycle, (_, add) in zip(run.cycles["sink"], words, strict=True)]
        events += [(cycle, key) for cycle, key in zip(run.cycles["read"], reads, strict=True)]
        assert len({cycle for cycle, _ in events}) == len(events)
        found = iter(run.tokens["source"])
        for _, event in sorted(events, key=lambda e: e[0]):
            if isinstance(event, int):
                expected = {"first": 0, "last": event & 1, "total": self.totals[event]}
                assert next(found) == expected, event
                continue
            for key, weight in zip(event[0], event[1], strict=True):
                self.totals[key] += weight * event[2]
        return run

    def check_all(self):
        keys = list(self.totals)
        random.Random(len(keys)).shuffle(keys)
        run = self.bench.run({"read": [{"key": key} for key in keys]}, {"source": len(keys)}, take=0.8)
        assert [t["total"] for t in run.tokens["source"]] == [self.totals[key] for key in keys]

    def rows(self, draws, count, longest):
        """Rows of random length, packed full or with fewer keys a word."""
        for _ in range(count):
            length = draws.randint(1, draws.randint(1, longest))
            share = draws.choice([draws.randint(1, self.lanes), self.lanes])
            yield [draws.getrandbits(16) for _ in range(length)], draws.randint(0, LARGEST_GAIN), share


@pytest.mark.parametrize("seed", range(4))
def test_random_rows(sums, seed):
    draws = random.Random(seed)
    sums.clear(sums.depth)
    rows = list(sums.rows(draws, 60, sums.depth))
    sums.check(rows, [draws.randrange(sums.depth) for _ in range(60)], seed)
    sums.check_all()


@pytest.mark.parametrize("distance", range(1, 8))
def test_the_same_key_again_and_again(sums, distance):
    """Rows of one to seven words without a gap: a word's sum is still on its way when it is needed again."""
    draws = random.Random(distance)
    keys = min(sums.depth, distance * sums.lanes)
    sums.clear(keys)
    rows = [([draws.getrandbits(16) for _ in range(keys)], LARGEST_GAIN, sums.lanes) for _ in range(40)]
    run = sums.check(rows, [], 0, offer=1.0)
    assert run.cycles["sink"] == list(range(len(run.cycles["sink"])))
    sums.check_all()


@pytest.mark.parametrize("seed", range(4))
def test_short_rows(sums, seed):
    """Rows of one to a few keys in words of changing size: the same keys at all distances from 1."""
    draws = random.Random(seed)
    sums.clear(min(sums.depth, 3 * sums.lanes))
    rows = list(sums.rows(draws, 300, len(sums.totals)))
    sums.check(rows, [draws.randrange(len(sums.totals)) for _ in range(100)], seed)
    sums.check(list(sums.rows(draws, 300, 2)), [0] * 100, seed, offer=1.0)
    sums.check_all()


def test_causal_rows(sums):
    sums.clear(sums.depth)
    draws = random.Random(1)
    sums.check(
        [
            ([draws.getrandbits(16) for _ in range(n)], n, sums.lanes)
            for n in range(1, min(50, sums.depth) + 1)
        ],
        [],
        1,
    )
    sums.check_all()


def test_clear_forgets_every_key(sums):
    """A clear of some keys zeroes these, whatever the memory held; a row right behind it finds zero."""
    for keys in sorted({1, 2, sums.lanes, sums.lanes + 1, sums.depth - 1, sums.depth}):
        sums.clear(sums.depth)
        sums.check(list(sums.rows(random.Random(keys), 5, sums.depth)), [], keys)
        keys = min(keys, sums.depth)
        row = [7 * key + 1 for key in range(keys)]
        token = [w for w, _ in sums.words((row, 1000, sums.lanes), random.Random(2))]
        run = sums.bench.run({"clear": [{"keys": keys}], "sink": token}, {})
        words = -(-keys // sums.lanes)
        assert run.cycles["clear"] == [words - 1]
        assert run.cycles["sink"] == list(range(words, words + len(token)))
        sums.totals = {key: 1000 * weight for key, weight in enumerate(row)}
        sums.check_all()


@pytest.mark.parametrize("pause", range(4))
def test_clear_right_behind_a_row(sums, pause):
    """What the row before it adds is still on its way, and is forgotten too."""
    sums.clear(1)
    (token, _), *_ = sums.words(([65535], LARGEST_GAIN, 1), random.Random(pause))
    sums.bench.run({"sink": [token]}, {}, after=pause)
    sums.bench.run({"clear": [{"keys": 1}]}, {}, after=pause)
    sums.check_all()


def test_largest_sums(sums):
    """16,384 gains, the most of a job, and then up to the last of 51 bits: no carry gets lost."""
    sums.clear(1)
    rows = [([65535], LARGEST_GAIN, 1)] * 16384
    sums.check(rows, [], 3, offer=1.0)
    assert sums.totals[0] == 1_125_899_906_580_480
    sums.check_all()
    sums.check([([65535], LARGEST_GAIN, 1)] * 16380, [], 4, offer=1.0)
    assert sums.totals[0] >= 1 << 50
    sums.check_all()


def test_cycles_of_reads(sums):
    sums.clear(sums.depth)
    run = sums.bench.run({"read": [{"key": k} for k in range(sums.depth)]}, {"source": sums.depth})
    assert run.cycles["read"] == list(range(sums.depth))
    assert run.cycles["source"] == [cycle + sums.latency for cycle in range(sums.depth)]


# Update -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def update():
    dut = TokenUpdate()
    assert dut.LATENCY == 5
    return Bench(dut, {"sink": dut.sink}, {"source": dut.source})


def updated(token):
    old = token["old"] if token["add"] else 0
    if not token["live"]:
        return old
    return min((1 << 32) - 1, (old * token["decay"] >> 16) + round_shift(token["total"], 24))


def check_update(bench, tokens, seed):
    run = bench.run(
        {"sink": tokens}, {"source": len(tokens)}, offer=gaps(seed), take=gaps(seed + 1), seed=seed
    )
    for token, got in zip(tokens, run.tokens["source"], strict=True):
        assert got == {"first": 0, "last": token["last"], "new": updated(token)}, token


def test_update_corners(update):
    olds = [0, 1, 65535, 65536, (1 << 18) - 1, 1 << 18, 1 << 31, (1 << 32) - 2, (1 << 32) - 1]
    totals = [0, (1 << 23) - 1, 1 << 23, (1 << 24) - 1, 1 << 24, 3 << 23, (1 << 50) - 1, (1 << 51) - 1]
    decays = [0, 1, 32767, 32768, 65535, 65536]
    tokens = [
        {"old": o, "total": t, "decay": d, "live": flags & 1, "add": flags >> 1, "last": o & 1}
        for o in olds
        for t in totals
        for d in decays
        for flags in range(4)
    ]
    news = [updated(token) for token in tokens]
    assert news.count((1 << 32) - 1) > 50
    random.Random(1).shuffle(tokens)
    check_update(update, tokens, 2)


@pytest.mark.parametrize("seed", range(4))
def test_update_random(update, seed):
    draws = random.Random(seed)
    tokens = [
        {
            "old": draws.getrandbits(draws.randint(1, 32)),
            "total": draws.getrandbits(draws.randint(1, 51)),
            "decay": min(65536, draws.getrandbits(17)),
            "live": draws.random() < 0.8,
            "add": draws.random() < 0.8,
            "last": draws.getrandbits(1),
        }
        for _ in range(2000)
    ]
    check_update(update, tokens, 10 * seed)


def test_update_at_saturation(update):
    """Sums around 2^32 - 1."""
    draws = random.Random(3)
    tokens = []
    for _ in range(500):
        total = draws.getrandbits(50)
        old = (1 << 32) - 1 - round_shift(total, 24) + draws.randint(-2, 2)
        old = min(old, (1 << 32) - 1)
        tokens.append({"old": old, "total": total, "decay": 65536, "live": 1, "add": 1, "last": 0})
    check_update(update, tokens, 4)


def test_update_a_word_a_cycle(update):
    run = update.run({"sink": [{"old": 5}] * 30}, {"source": 30})
    assert run.cycles["sink"] == list(range(30))
    assert run.cycles["source"] == list(range(5, 35))
