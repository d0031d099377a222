# SPDX-License-Identifier: BSD-2-Clause
"""Small stores of the rows in flight: queries, kept weights, and the packing of scores."""

from __future__ import annotations

import random

import pytest
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.lane_pack import LanePack
from spatten_fpga.core.query_store import QueryStore
from spatten_fpga.core.replay import Replay
from spatten_fpga.sim import Bench

SLOTS = 4
GEOMETRY = Geometry(AcceleratorConfig(lanes=128, max_sequence=64, kv_buffer_rows=64))
LANES, BITS = GEOMETRY.keys_a_word, GEOMETRY.score_bits


class Stores(LiteXModule):
    """All three in one build."""

    def __init__(self) -> None:
        self.queries = QueryStore(GEOMETRY, SLOTS)
        self.kept = Replay([("weights", 16 * LANES)], 64)
        self.pack = LanePack(GEOMETRY, SLOTS)


@pytest.fixture(scope="module")
def built() -> Bench:
    dut = Stores()
    return Bench(
        dut,
        {
            "query": dut.queries.sink,
            "query_read": dut.queries.read,
            "kept": dut.kept.sink,
            "kept_row": dut.kept.row,
            "scores": dut.pack.sink,
        },
        {"row": dut.queries.source, "words": dut.kept.source, "packed": dut.pack.source},
        inputs={"dim": dut.queries.dim, "keys": dut.pack.keys},
    )


@pytest.fixture
def bench(built: Bench) -> Bench:
    built.reset()
    return built


@pytest.mark.parametrize("dim", [32, 64])
def test_query_rows_are_given_as_often_as_asked(bench: Bench, dim: int) -> None:
    draws = random.Random(dim)
    bench.set("dim", dim)
    segments = dim // GEOMETRY.segment
    rows = {
        slot: [draws.getrandbits(GEOMETRY.segment * 12) for _ in range(segments)] for slot in (2, 0, 3, 1)
    }
    tokens = [
        {"elements": part, "slot": slot, "last": i == segments - 1}
        for slot, row in rows.items()
        for i, part in enumerate(row)
    ]
    bench.run({"query": tokens}, {}, offer=0.6)
    asked = [draws.randrange(SLOTS) for _ in range(10)]
    run = bench.run({"query_read": [{"slot": s} for s in asked]}, {"row": 10 * segments}, take=0.7)
    assert [token["elements"] for token in run.tokens["row"]] == [part for s in asked for part in rows[s]]
    assert [token["last"] for token in run.tokens["row"]] == ([0] * (segments - 1) + [1]) * 10


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("passes", [1, 2])
def test_kept_words_come_once_for_each_plane(bench: Bench, passes: int, seed: int) -> None:
    draws = random.Random(seed)
    rows = [
        [draws.getrandbits(16 * LANES) for _ in range(draws.choice((1, 2, 64, draws.randint(1, 64))))]
        for _ in range(5)
    ]
    tokens = [{"weights": w, "last": i == len(r) - 1} for r in rows for i, w in enumerate(r)]
    wanted = [w for row in rows for w in row * passes]
    ends = [int(i == passes * len(row) - 1) for row in rows for i in range(passes * len(row))]
    offer, take = draws.choice(((1.0, 1.0), (0.5, 0.9), (0.9, 0.5)))
    run = bench.run(
        {"kept": tokens, "kept_row": [{"passes": passes}] * 5},
        {"words": len(wanted)},
        offer=offer,
        take=take,
        seed=seed,
    )
    assert [token["weights"] for token in run.tokens["words"]] == wanted
    assert [token["last"] for token in run.tokens["words"]] == ends
    each = [int(i == len(row) - 1) for row in rows for _ in range(passes) for i in range(len(row))]
    assert [token["end"] for token in run.tokens["words"]] == each


def test_the_next_rows_are_stored_while_one_is_given(bench: Bench) -> None:
    """A row that is not taken keeps its place, and those behind it come in as far as the store reaches."""
    tokens = [{"weights": w, "last": w % 16 == 15} for w in range(64)]
    full = bench.run({"kept": tokens[:63], "kept_row": [{"passes": 2}] * 4}, {}, take=0.0)
    assert len(full.cycles["kept"]) == 63
    run = bench.run({"kept": tokens[63:]}, {"words": 128})
    assert [t["weights"] for t in run.tokens["words"]] == [
        16 * row + place for row in range(4) for _ in range(2) for place in range(16)
    ]
    cycles = run.cycles["words"]
    assert cycles[-1] - cycles[0] == 127  # without a gap, also between rows


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keys", [1, 2, 4])
def test_scores_fill_words(bench: Bench, keys: int, seed: int) -> None:
    draws = random.Random(seed)
    bench.set("keys", keys)
    passes = [[draws.getrandbits(BITS) for _ in range(draws.randint(1, 30))] for _ in range(6)]

    def words(scores: list[int], size: int, slot: int) -> list[dict[str, int]]:
        cut = [scores[i : i + size] for i in range(0, len(scores), size)]
        return [
            {
                "scores": sum(score << BITS * lane for lane, score in enumerate(part)),
                "count": len(part),
                "slot": slot,
                "add": slot % 2,
                "last": int(i == len(cut) - 1),
            }
            for i, part in enumerate(cut)
        ]

    tokens = [word for slot, scores in enumerate(passes) for word in words(scores, keys, slot % SLOTS)]
    wanted = [word for slot, scores in enumerate(passes) for word in words(scores, LANES, slot % SLOTS)]
    offer, take = draws.choice(((1.0, 1.0), (0.6, 0.6)))
    found = bench.run({"scores": tokens}, {"packed": len(wanted)}, offer=offer, take=take, seed=seed).tokens[
        "packed"
    ]
    for token, word in zip(found, wanted, strict=True):
        low = (1 << BITS * word["count"]) - 1
        del token["first"]  # nobody drives it
        assert {**token, "scores": token["scores"] & low} == word
