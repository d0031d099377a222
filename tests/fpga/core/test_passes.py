# SPDX-License-Identifier: BSD-2-Clause
"""Both sides of the memory together: commands in, operands out, with a memory of rows between them."""

import random
from functools import cache

import pytest
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import PRESETS
from spatten_fpga.core.fetch import ALL, KEPT, ROW, Fetch
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.plane_reader import PlaneReader
from spatten_fpga.core.port import BlockMemory
from spatten_fpga.sim.bench import Bench, Run, gaps
from tests.fpga.core.test_plane_reader import SOURCES, Pass, random_pass

from .key_list import KeyList

GEOMETRY = Geometry(PRESETS["ecp5-85f"])
BEATS = 4096
SLOTS = 40  # of the sequence in memory
BEAT_BITS = 128


class BothSides(LiteXModule):
    """Fetch, memory, plane reader and the key list."""

    def __init__(self, geometry: Geometry) -> None:
        self.fetch = fetch = Fetch(geometry)
        self.memory = memory = BlockMemory(geometry, BEATS, latency=20)
        self.reader = reader = PlaneReader(geometry)
        self.list = KeyList(geometry, fetch.list_index, fetch.list_word)
        self.fill = self.list.fill
        self.comb += [
            fetch.passes.connect(reader.passes),
            fetch.command.connect(memory.port.command),
            memory.port.data.connect(reader.data),
        ]


@cache
def bench() -> Bench:
    dut = BothSides(GEOMETRY)
    return Bench(
        dut,
        {
            "fill": dut.fill,
            "write": dut.memory.port.write,
            "sink": dut.fetch.sink,
            "index": dut.fetch.index,
        },
        {name: getattr(dut.reader, name) for name in SOURCES.values()},
    )


def both_sides(seed: int, count: int, offer: float = 1, take: float = 1) -> Run:
    """Commands of random kinds against a memory of random bits."""
    unit, draws = bench(), random.Random(seed)
    unit.reset()
    contents = [draws.getrandbits(BEAT_BITS) for _ in range(BEATS)]
    keys = sorted(draws.sample(range(SLOTS), 25))
    unit.run(
        {
            "fill": [{"place": i, "word": slot | draws.getrandbits(1) << 15} for i, slot in enumerate(keys)],
            "write": [{"address": i, "data": data} for i, data in enumerate(contents)],
        },
        {},
    )
    commands, index = [], []
    expected: dict[str, list[dict[str, int]]] = {source: [] for source in SOURCES.values()}
    for _ in range(count):
        kind = random_pass(GEOMETRY, draws, most=1)
        row_beats = kind.row_beats(GEOMETRY)
        address = draws.randrange(BEATS - SLOTS * row_beats)
        which = draws.choice((ALL, KEPT, ROW))
        rows = 1 if which == ROW else draws.randint(1, len(keys))
        places = list(range(rows)) if which == ALL else sorted(draws.sample(range(len(keys)), rows))
        if which == KEPT:
            index += [{"index": place, "last": int(place == places[-1])} for place in places]
        starts = [address + (0 if which == ROW else keys[place] * row_beats) for place in places]
        numbers = [row_at(contents, start, kind.dim * kind.bits) for start in starts]
        whole = Pass(kind.target, kind.dim, kind.bits, numbers, kind.base, kind.slot, kind.modes)
        commands.append(whole.token(GEOMETRY) | {"address": address, "list": which})
        expected[SOURCES[kind.target]] += whole.expected(GEOMETRY)
    run = unit.run(
        {"sink": commands, "index": index},
        {source: len(tokens) for source, tokens in expected.items()},
        offer=offer,
        take=take,
        seed=seed,
    )
    for source, tokens in expected.items():
        found = [{k: v for k, v in token.items() if k != "first"} for token in run.tokens[source]]
        assert found == tokens, source
    return run


def row_at(contents: list[int], start: int, bits: int) -> int:
    """The row whose first beat is at ``start``, without its padding."""
    beats = contents[start : start + -(-bits // BEAT_BITS)]
    return sum(beat << i * BEAT_BITS for i, beat in enumerate(beats)) & ((1 << bits) - 1)


def test_memory_to_operands() -> None:
    for seed in range(8):
        both_sides(seed, 50, offer=gaps(2 * seed), take=gaps(2 * seed + 1))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (PRESETS["ecp5-85f"], 1024),  # 1024 keys of 64 elements on 64 lanes
        (PRESETS["ecp5-25f"], 1024),  # 128 keys of 64 on 8 lanes
        (PRESETS["paper"], 256),  # 1024 keys of 128 on 512 lanes
        (AcceleratorConfig(lanes=128, head_dims=(32, 96), kv_buffer_rows=17), 17),  # 96 in the place of 128
        (AcceleratorConfig(lanes=128, head_dims=(32,), kv_buffer_rows=17), 5),
        (AcceleratorConfig(kv_buffer_rows=0), 1),
    ],
)
def test_words_of_an_operand_buffer(config: AcceleratorConfig, words: int) -> None:
    assert Geometry(config).buffer_words == words
