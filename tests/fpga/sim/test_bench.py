# SPDX-License-Identifier: BSD-2-Clause
"""The bench itself: it moves tokens unchanged, and it notices every way in which a stream can be wrong."""

from __future__ import annotations

import pytest
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import If, Signal

from spatten_fpga.sim import Bench, SimulationError
from spatten_fpga.sim.bench import signed

LAYOUT = [("wide", 130), ("small", (5, True))]


class Adder(LiteXModule):
    """A FIFO that adds. ``fault`` 1 withdraws tokens, 2 changes them, 3 doubles them."""

    def __init__(self) -> None:
        self.sink, self.source = stream.Endpoint(LAYOUT), stream.Endpoint(LAYOUT)
        self.offset, self.fault, self.seen = Signal(3), Signal(2), Signal(8)
        self.fifo = fifo = stream.SyncFIFO(LAYOUT, 4)
        tick, again = Signal(4), Signal()
        self.sync += [
            tick.eq(tick + 1),
            If(fifo.source.valid & fifo.source.ready, self.seen.eq(self.seen + 1)),
            If(self.source.valid & self.source.ready, again.eq(~again)),
        ]
        self.comb += [
            self.sink.connect(fifo.sink),
            fifo.source.connect(self.source, omit={"wide", "valid", "ready"}),
            self.source.wide.eq(fifo.source.wide + self.offset + ((self.fault == 2) & tick[0])),
            self.source.valid.eq(fifo.source.valid & ~((self.fault == 1) & tick[0])),
            fifo.source.ready.eq(self.source.ready & self.source.valid & ((self.fault != 3) | again)),
        ]


@pytest.fixture(scope="module")
def adder() -> Bench:
    dut = Adder()
    return Bench(
        dut,
        {"sink": dut.sink},
        {"source": dut.source},
        inputs={"offset": dut.offset, "fault": dut.fault},
        outputs={"seen": dut.seen},
    )


TOKENS = [{"wide": (1 << 129) + i, "small": -i, "last": i % 3 == 0} for i in range(10)]


@pytest.fixture
def bench(adder: Bench) -> Bench:
    adder.reset()
    return adder


@pytest.mark.parametrize("seed", range(4))
def test_tokens_arrive_in_order_whatever_the_gaps(bench: Bench, seed: int) -> None:
    bench.set("offset", 5)
    run = bench.run({"sink": TOKENS}, {"source": 10}, offer=0.4, take=0.3, seed=seed)
    found = run.tokens["source"]
    assert [token["wide"] for token in found] == [(1 << 129) + i + 5 for i in range(10)]
    assert [signed(token["small"], 5) for token in found] == [-i for i in range(10)]
    assert [token["last"] for token in found] == [int(i % 3 == 0) for i in range(10)]
    assert bench.get("seen") == 10


def test_cycles_are_those_of_the_handshakes(bench: Bench) -> None:
    run = bench.run({"sink": TOKENS}, {"source": 10})
    assert run.cycles == {"sink": list(range(10)), "source": list(range(1, 11))}


def test_the_same_seed_gives_the_same_gaps(bench: Bench) -> None:
    first, second = (bench.run({"sink": TOKENS}, {"source": 10}, offer=0.5, take=0.5, seed=7) for _ in "ab")
    other = bench.run({"sink": TOKENS}, {"source": 10}, offer=0.5, take=0.5, seed=8)
    assert first == second != other


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (1, "stream source withdrew or changed token 0 before it was taken"),
        (2, "stream source withdrew or changed token 0 before it was taken"),
        (3, "more tokens than expected came; handshakes: sink 10 of 10, source 20 of 10"),
    ],
)
def test_a_broken_stream_is_noticed(bench: Bench, fault: int, message: str) -> None:
    bench.set("fault", fault)
    take = 1.0 if fault == 3 else 0.1
    with pytest.raises(SimulationError) as caught:
        bench.run({"sink": TOKENS}, {"source": 10}, take=take, seed=3, after=40)
    assert str(caught.value) == message


def test_tokens_that_never_come_are_named(bench: Bench) -> None:
    with pytest.raises(SimulationError, match=r"did not end within .* sink 10 of 10, source 10 of 11"):
        bench.run({"sink": TOKENS}, {"source": 11}, limit=100)


def test_unknown_field_is_named(bench: Bench) -> None:
    with pytest.raises(SimulationError, match=r"stream sink has no \['big'\]"):
        bench.run({"sink": [{"big": 1}]}, {"source": 1})


class Stubborn(LiteXModule):
    """A register that no reset reaches and one that a reset does; nothing else ever writes them."""

    def __init__(self) -> None:
        self.write = Signal()
        kept, reset_to = Signal(32, reset=5, reset_less=True), Signal(32, reset=6)
        self.kept, self.reset_to = Signal(32), Signal(32)
        self.comb += [self.kept.eq(kept), self.reset_to.eq(reset_to)]
        self.sync += If(self.write, kept.eq(1), reset_to.eq(1))


def test_registers_can_start_with_anything() -> None:
    def values(initial: bool) -> list[tuple[int, int]]:
        dut, found = Stubborn(), []
        outputs = {"kept": dut.kept, "reset_to": dut.reset_to}
        bench = Bench(dut, {}, {}, inputs={"write": dut.write}, outputs=outputs, initial=initial)
        for seed in range(1, 5):
            bench.restart(seed)
            found.append((bench.get("kept"), bench.get("reset_to")))
        return found

    assert set(values(True)) == {(5, 6)}
    found = values(False)
    assert len({kept for kept, _ in found}) == len(found)
    assert {reset_to for _, reset_to in found} == {6}
