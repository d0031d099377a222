# SPDX-License-Identifier: BSD-2-Clause
"""The answer header against contract, section 10."""

from __future__ import annotations

import random

import pytest

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import ABI_MINOR
from spatten_fpga.core.answer import AnswerWriter
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.sim.bench import Bench, Run, gaps
from tests.model.oracle_format import ANSWER_COUNTERS, ANSWER_FIELDS, Status, set_field

BEATS = (4, 16, 64)
WORDS = 64
STATUS_BYTE = 12
CONSTANT = ("magic", "abi_minor", "abi_major", "config_digest_lo", "config_digest_hi")
ALWAYS_THERE = (*CONSTANT, "job_id", "status")


class Writer:
    """A bench around a writer of one beat size."""

    def __init__(self, beat: int) -> None:
        self.beat = beat
        config = AcceleratorConfig(beat_bytes=beat)
        digest = config.digest
        self.fixed = {
            "magic": int.from_bytes(b"SPTA", "little"),
            "abi_major": 1,
            "abi_minor": ABI_MINOR,
            "config_digest_lo": digest & 0xFFFFFFFF,
            "config_digest_hi": digest >> 32,
        }
        dut = AnswerWriter(Geometry(config))
        assert set(dut.values) == set(ANSWER_FIELDS) - set(CONSTANT) | set(ANSWER_COUNTERS)
        self.bench = Bench(
            dut,
            {},
            {"write": dut.write},
            inputs={"start": dut.start, "address": dut.address, **dut.values},
            outputs={"done": dut.done},
        )

    def run(self, values: dict[str, int], address: int, seed: int, take: float = 1.0) -> Run:
        """One header: every beat once, the status with the last."""
        for name, value in {**values, "address": address}.items():
            self.bench.set(name, value)
        self.bench.set("start", 1)
        self.bench.tick()
        self.bench.set("start", 0)
        assert self.bench.get("done") == 0
        beats = self.expected(values)
        run = self.bench.run({}, {"write": len(beats)}, take=take, seed=seed)
        found = run.tokens["write"]
        assert {token["address"] - address: token["data"] for token in found} == beats
        assert [token["last"] for token in found] == [0] * (len(beats) - 1) + [1]
        assert found[-1]["address"] == address + STATUS_BYTE // self.beat
        assert self.bench.get("done") == 1
        return run

    def expected(self, values: dict[str, int]) -> dict[int, int]:
        """Beats by their number."""
        given = {**values, **self.fixed}
        if values["status"] != Status.DONE:
            given = {name: value for name, value in given.items() if name in ALWAYS_THERE}
        words = [0] * WORDS
        for name, value in given.items():
            if name in ANSWER_FIELDS:
                set_field(words, ANSWER_FIELDS[name], value)
            else:
                lower = ANSWER_COUNTERS[name]
                words[lower : lower + 2] = value % (1 << 32), value >> 32
        data = b"".join(word.to_bytes(4, "little") for word in words)
        return {
            at // self.beat: int.from_bytes(data[at : at + self.beat], "little")
            for at in range(0, len(data), self.beat)
        }


@pytest.fixture(scope="module", params=BEATS)
def writer(request: pytest.FixtureRequest) -> Writer:
    return Writer(request.param)


def values_of(status: int, draws: random.Random) -> dict[str, int]:
    """Something in every field and counter."""
    values = {name: draws.getrandbits(64) for name in ANSWER_COUNTERS}
    for name, (_, high, low) in ANSWER_FIELDS.items():
        if name not in CONSTANT:
            values[name] = draws.getrandbits(high - low + 1)
    return {**values, "status": status}


def test_done(writer: Writer) -> None:
    draws = random.Random(1)
    for seed in range(40):
        writer.run(values_of(Status.DONE, draws), draws.getrandbits(20), seed, gaps(seed))


def test_errors_show_nothing_else(writer: Writer) -> None:
    draws = random.Random(2)
    for seed, status in enumerate(3 * [s for s in Status if s != Status.DONE]):
        writer.run(values_of(status, draws), draws.getrandbits(20), seed, gaps(seed))


def test_each_value_has_its_place(writer: Writer) -> None:
    draws = random.Random(3)
    nothing = dict.fromkeys(values_of(Status.DONE, draws), 0) | {"status": Status.DONE}
    for name, value in values_of(Status.DONE, draws).items():
        if name != "status":
            writer.run({**nothing, name: value | 1}, 0, 0)


def test_a_beat_a_cycle(writer: Writer) -> None:
    run = writer.run(values_of(Status.DONE, random.Random(4)), 0, 0)
    first = run.cycles["write"][0]
    assert first == 1  # and the cycle of the start
    assert run.cycles["write"] == list(range(first, first + 256 // writer.beat))
