# SPDX-License-Identifier: BSD-2-Clause
"""Fetch commands against ``address + slot * row_beats`` (contract, section 3)."""

import random
from functools import cache

from litex.gen import LiteXModule
from litex.soc.interconnect import stream

from spatten_drivers.config import PRESETS
from spatten_fpga.core.fetch import ALL, KEPT, PICKED, ROW, Fetch, fetch_layout
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.passes import pass_layout
from spatten_fpga.sim.bench import Bench, Run, gaps

from .key_list import KeyList

GEOMETRY = Geometry(PRESETS["ecp5-85f"])
SLOTS = GEOMETRY.config.max_sequence
PASS = [name for name, _ in pass_layout(GEOMETRY)]
WIDTHS = dict(fetch_layout(GEOMETRY))
Token = dict[str, int]


class FetchWithList(LiteXModule):
    """The unit with a key list, and its pulse as a stream."""

    def __init__(self, geometry: Geometry) -> None:
        self.issued = stream.Endpoint(fetch_layout(geometry))
        self.fetch = fetch = Fetch(geometry)
        self.list = KeyList(geometry, fetch.list_index, fetch.list_word)
        self.fill = self.list.fill
        self.comb += [
            self.issued.valid.eq(fetch.issued),
            *(getattr(self.issued, name).eq(getattr(fetch.current, name)) for name in WIDTHS),
        ]


@cache
def bench() -> Bench:
    dut = FetchWithList(GEOMETRY)
    unit = dut.fetch
    return Bench(
        dut,
        {"fill": dut.fill, "sink": unit.sink, "index": unit.index, "picks": unit.picks},
        {"passes": unit.passes, "command": unit.command, "issued": dut.issued},
    )


def fetch(
    keys: list[int],
    commands: list[Token],
    places: list[list[int]],
    seed: int = 0,
    offer: float = 1,
    take: float = 1,
) -> Run:
    """Commands through the unit; ``places`` belong to KEPT and PICKED ones in order. Checks all of it."""
    unit, draws = bench(), random.Random(seed)
    unit.reset()
    fill = [{"place": i, "word": slot | draws.getrandbits(1) << 15} for i, slot in enumerate(keys)]
    unit.run({"fill": fill}, {})
    given, addresses = iter(places), []
    index: dict[int, list[Token]] = {KEPT: [], PICKED: []}
    for command in commands:
        if command["list"] == ROW:
            slots = [0]
        elif command["list"] == ALL:
            slots = keys[: command["rows"]]
        else:
            part = next(given)
            slots = [keys[place] for place in part]
            index[command["list"]] += [
                {"index": place, "last": int(i == len(part) - 1)} for i, place in enumerate(part)
            ]
        beats = command["row_beats"]
        found = [command["address"] + slot * beats + beat for slot in slots for beat in range(beats)]
        addresses += [
            {"address": address, "last": int(place == len(found) - 1)} for place, address in enumerate(found)
        ]
    run = unit.run(
        {"sink": commands, "index": index[KEPT], "picks": index[PICKED]},
        {"passes": len(commands), "command": len(addresses), "issued": len(commands)},
        offer={"sink": offer, **dict.fromkeys(("index", "picks"), gaps(seed + 99) if offer < 1 else 1)},
        take={"passes": take, "command": gaps(seed + 98) if take < 1 else 1},
        seed=seed,
    )
    assert [{k: v for k, v in token.items() if k != "first"} for token in run.tokens["command"]] == addresses
    assert [{name: t[name] for name in PASS} for t in run.tokens["passes"]] == [
        {name: c[name] for name in PASS} for c in commands
    ]
    assert [{name: t[name] for name in WIDTHS} for t in run.tokens["issued"]] == commands
    assert run.cycles["issued"] == [cycle + 1 for cycle in run.cycles["sink"]]
    firsts = [0, *(i + 1 for i, token in enumerate(addresses) if token["last"])][:-1]
    for announced, first in zip(run.cycles["passes"], firsts, strict=True):
        assert announced < run.cycles["command"][first]
    return run


def key_list(draws: random.Random, count: int) -> list[int]:
    return sorted(draws.sample(range(SLOTS), count))


def command(draws: random.Random, rows: int, which: int, row_beats: int) -> Token:
    """A command with rubbish in what the unit only hands on; the address leaves room for every slot."""
    token = {name: draws.getrandbits(width) for name, width in WIDTHS.items()}
    address = draws.getrandbits(WIDTHS["address"]) % ((1 << WIDTHS["address"]) - SLOTS * 64)
    return token | {"rows": rows, "list": which, "row_beats": row_beats, "address": address}


def random_commands(draws: random.Random, n_keys: int, count: int) -> tuple[list[Token], list[list[int]]]:
    commands, places = [], []
    for _ in range(count):
        which = draws.choice((ALL, KEPT, ROW, PICKED))
        rows = 1 if which == ROW else draws.randint(1, min(n_keys, 30))
        commands.append(command(draws, rows, which, draws.choice((1, 1, 2, 3, 6, 12, 64))))
        if which in (KEPT, PICKED):
            places.append(sorted(draws.sample(range(n_keys), rows)))
    return commands, places


def test_random_commands_and_gaps() -> None:
    for seed in range(12):
        draws = random.Random(seed)
        keys = key_list(draws, draws.choice((1, 40, 700, SLOTS)))
        commands, places = random_commands(draws, len(keys), 30)
        fetch(keys, commands, places, seed, offer=gaps(2 * seed), take=gaps(2 * seed + 1))


def test_single_rows() -> None:
    draws = random.Random(1)
    keys = key_list(draws, 5)
    commands = [command(draws, 1, draws.choice((ALL, ROW, KEPT, PICKED)), 1) for _ in range(100)]
    places = [[draws.randrange(5)] for one in commands if one["list"] in (KEPT, PICKED)]
    run = fetch(keys, commands, places)
    assert run.cycles["command"] == list(range(7, 7 + 4 * 100, 4))


def test_whole_list_and_highest_address() -> None:
    draws = random.Random(2)
    top = (1 << WIDTHS["address"]) - 2 * SLOTS
    commands = [command(draws, SLOTS, which, 2) | {"address": top} for which in (ALL, KEPT, PICKED)]
    run = fetch(list(range(SLOTS)), commands, [list(range(SLOTS))] * 2)
    assert max(token["address"] for token in run.tokens["command"]) == (1 << WIDTHS["address"]) - 1


def test_an_address_every_cycle() -> None:
    draws = random.Random(3)
    keys = key_list(draws, 200)
    for row_beats in (1, 2, 3, 12, 64):
        for which in (ALL, KEPT, PICKED):
            run = fetch(keys, [command(draws, 50, which, row_beats)], [list(range(50))] * (which != ALL))
            first = run.cycles["sink"][0] + 7
            assert run.cycles["command"] == list(range(first, first + 50 * row_beats))


def test_gap_between_commands() -> None:
    draws = random.Random(4)
    keys = key_list(draws, 50)
    for row_beats in (1, 2, 3, 4, 5, 64):
        run = fetch(keys, [command(draws, 20, ALL, row_beats) for _ in range(3)], [])
        cycles = run.cycles["command"]
        gap = cycles[20 * row_beats] - cycles[20 * row_beats - 1] - 1
        assert gap == (3 if row_beats == 1 else 0)
