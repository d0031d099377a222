# SPDX-License-Identifier: BSD-2-Clause
"""The memory port: arbiters alone, and both in front of the block memory."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import BlockMemory, ReadArbiter, WriteArbiter
from spatten_fpga.sim.bench import Bench, gaps

GEOMETRY = Geometry(AcceleratorConfig(beat_bytes=8))
CLIENTS = 3
OUTSTANDING = 16
BEATS, LATENCY = 256, 5
WHOSE = 20  # bit of an address from which on the tests keep the client


@cache
def readers() -> Bench:
    dut = ReadArbiter(GEOMETRY, CLIENTS, OUTSTANDING)
    clients = enumerate(dut.clients)
    sinks = {"data": dut.port.data}
    sources = {"command": dut.port.command}
    for number, client in clients:
        sinks[f"command{number}"] = client.command
        sources[f"data{number}"] = client.data
    return Bench(dut, sinks, sources)


@cache
def writers() -> Bench:
    dut = WriteArbiter(GEOMETRY, CLIENTS)
    return Bench(
        dut,
        {f"sink{number}": sink for number, sink in enumerate(dut.sinks)},
        {"source": dut.source},
        inputs={"port_pending": dut.port_pending},
        outputs={"writes_pending": dut.writes_pending},
    )


class Shared(LiteXModule):
    """Two clients that read and two that write one memory."""

    def __init__(self) -> None:
        self.readers = ReadArbiter(GEOMETRY, 2)
        self.writers = WriteArbiter(GEOMETRY, 2)
        self.memory = BlockMemory(GEOMETRY, BEATS, LATENCY)
        port = self.memory.port
        self.comb += [
            self.readers.port.command.connect(port.command),
            port.data.connect(self.readers.port.data),
            self.writers.source.connect(port.write),
            self.writers.port_pending.eq(port.writes_pending),
        ]


@cache
def shared() -> Bench:
    dut = Shared()
    sinks, sources = {}, {}
    for number in range(2):
        sinks[f"command{number}"] = dut.readers.clients[number].command
        sinks[f"write{number}"] = dut.writers.sinks[number]
        sources[f"data{number}"] = dut.readers.clients[number].data
    return Bench(dut, sinks, sources, outputs={"pending": dut.writers.writes_pending})


# Reads --------------------------------------------------------------------------------------------


def commands(counts: list[int]) -> dict[str, list[dict[str, int]]]:
    return {f"command{n}": [{"address": n << WHOSE | i} for i in range(c)] for n, c in enumerate(counts)}


def test_data_finds_its_client() -> None:
    dut = readers()
    for seed in range(40):
        rng = random.Random(seed)
        counts = [rng.randrange(40) for _ in range(CLIENTS)]
        total = sum(counts)
        data = [rng.getrandbits(64) for _ in range(total)]
        run = dut.run(
            {**commands(counts), "data": [{"data": value} for value in data]},
            {"command": total, **{f"data{n}": count for n, count in enumerate(counts)}},
            offer={
                name: gaps(seed + i) for i, name in enumerate(("command0", "command1", "command2", "data"))
            },
            take={name: gaps(seed + 99 + i) for i, name in enumerate(("data0", "data1", "data2", "command"))},
            seed=seed,
        )
        asked = [token["address"] >> WHOSE for token in run.tokens["command"]]
        for number in range(CLIENTS):
            mine = [t["address"] for t in run.tokens["command"] if t["address"] >> WHOSE == number]
            assert mine == [number << WHOSE | i for i in range(counts[number])]
            expected = [value for value, whose in zip(data, asked, strict=True) if whose == number]
            assert [token["data"] for token in run.tokens[f"data{number}"]] == expected


def test_the_first_client_goes_first_and_none_loses_a_cycle() -> None:
    dut = readers()
    counts = [20, 20, 20]
    run = dut.run(
        {**commands(counts), "data": [{}] * 60}, {"command": 60, "data0": 20, "data1": 20, "data2": 20}
    )
    assert [token["address"] >> WHOSE for token in run.tokens["command"]] == [0] * 20 + [1] * 20 + [2] * 20
    assert run.cycles["command"] == list(range(1, 61))
    assert run.cycles["data"] == list(range(2, 62))  # memory answers in the cycle in which it is asked


def test_commands_stop_when_too_many_are_outstanding() -> None:
    dut = readers()
    dut.run(commands([OUTSTANDING, 0, 0]), {"command": OUTSTANDING})
    run = dut.run(
        {"command1": [{"address": 1 << WHOSE}], "data": [{}] * (OUTSTANDING + 1)},
        {"command": 1, "data0": OUTSTANDING, "data1": 1},
        offer={"data": 0.1},
        seed=1,
    )
    assert run.cycles["command"][0] > run.cycles["data"][0]


# Writes -------------------------------------------------------------------------------------------


def bursts(rng: random.Random, client: int, count: int, length: int | None = None) -> list[dict[str, int]]:
    tokens = []
    for burst in range(count):
        beats = length or rng.randint(1, 6)
        for beat in range(beats):
            address = client << WHOSE | burst << 8 | beat
            tokens.append({"address": address, "data": rng.getrandbits(64), "last": int(beat == beats - 1)})
    return tokens


def test_bursts_stay_together() -> None:
    dut = writers()
    for seed in range(40):
        rng = random.Random(seed)
        given = [bursts(rng, n, rng.randrange(12)) for n in range(CLIENTS)]
        run = dut.run(
            {f"sink{n}": tokens for n, tokens in enumerate(given)},
            {"source": sum(map(len, given))},
            offer={f"sink{n}": gaps(seed + n) for n in range(CLIENTS)},
            take=gaps(seed + 99),
            seed=seed,
        )
        got = run.tokens["source"]
        for number, tokens in enumerate(given):
            assert [t for t in got if t["address"] >> WHOSE == number] == [{**t, "first": 0} for t in tokens]
        for before, after in pairwise(got):
            assert before["last"] or after["address"] >> WHOSE == before["address"] >> WHOSE


@pytest.mark.parametrize("length", [1, 3])
def test_clients_take_turns_and_lose_no_cycle(length: int) -> None:
    dut = writers()
    dut.reset()
    given = [bursts(random.Random(n), n, 8, length) for n in range(CLIENTS)]
    run = dut.run({f"sink{n}": t for n, t in enumerate(given)}, {"source": 24 * length})
    whose = [token["address"] >> WHOSE for token in run.tokens["source"]]
    assert whose == [n for _ in range(8) for n in range(CLIENTS) for _ in range(length)]
    assert run.cycles["source"] == list(range(1, 24 * length + 1))


def test_writes_are_pending_until_the_port_has_them() -> None:
    dut = writers()
    dut.reset()
    assert not dut.get("writes_pending")
    dut.run({"sink0": [{"last": 1}]}, {}, take=0)
    assert dut.get("writes_pending")
    dut.run({}, {"source": 1})
    assert not dut.get("writes_pending")
    dut.set("port_pending", 1)
    assert dut.get("writes_pending")


# Memory -------------------------------------------------------------------------------------------


def test_what_was_written_is_read() -> None:
    dut = shared()
    memory = [0] * BEATS
    for seed in range(20):
        rng = random.Random(seed)
        places = rng.sample(range(BEATS), BEATS if seed == 0 else rng.randint(2, 40))
        writes: list[list[dict[str, int]]] = [[], []]
        for place in places:
            memory[place] = rng.getrandbits(64)
            token = {"address": place, "data": memory[place], "last": rng.randrange(2)}
            writes[rng.randrange(2)].append(token)
        for tokens in writes:
            if tokens:
                tokens[-1]["last"] = 1
        dut.run({"write0": writes[0], "write1": writes[1]}, {}, offer=gaps(seed), seed=seed)
        assert not dut.get("pending")
        reads = [[rng.randrange(BEATS) for _ in range(rng.randrange(60))] for _ in range(2)]
        run = dut.run(
            {f"command{n}": [{"address": place} for place in places] for n, places in enumerate(reads)},
            {f"data{n}": len(places) for n, places in enumerate(reads)},
            offer=gaps(seed + 5),
            take=gaps(seed + 9),
            seed=seed,
        )
        for number, places in enumerate(reads):
            assert [t["data"] for t in run.tokens[f"data{number}"]] == [memory[place] for place in places]


def test_latency_and_a_beat_a_cycle() -> None:
    dut = shared()
    run = dut.run({"command0": [{"address": i} for i in range(50)]}, {"data0": 50})
    assert run.cycles["command0"] == list(range(50))
    assert run.cycles["data0"] == [1 + LATENCY + i for i in range(50)]  # 1 for the arbiter
