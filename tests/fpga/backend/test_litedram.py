# SPDX-License-Identifier: BSD-2-Clause
"""The back end for LiteDRAM, on LiteDRAM's own controller and its model of PHY and chips."""

from __future__ import annotations

import random
from functools import cache

import pytest
from litedram.common import LiteDRAMNativePort
from litedram.core.controller import ControllerSettings, LiteDRAMController
from litedram.core.crossbar import LiteDRAMCrossbar
from litedram.phy.model import SDRAM_VERBOSE_STD, SDRAMPHYModel
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.backend.litedram import LiteDRAMBackend
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.sim.bench import Bench, gaps
from spatten_fpga.sim.dram import MT41K256M16, ecp5_settings

CLOCK = 100e6  # the chips count in ps: a period without a remainder
WIDTHS = (4, 16, 64)  # bytes of a beat: less than a word of the controller, as wide, several
BYTES = 1 << 16  # of memory, one part for each width


class FewRows(MT41K256M16):
    """The same chip, small enough for a simulator."""

    nrows = 2048  # address bit 10 must exist, it precharges all banks


class Dut(LiteXModule):
    """A back end of each width at one controller."""

    def __init__(self) -> None:
        module = FewRows(CLOCK, "1:2")
        settings = ecp5_settings(module, CLOCK, 16)
        self.controller = controller = LiteDRAMController(
            settings, module.geom_settings, module.timing_settings, CLOCK, ControllerSettings()
        )
        self.crossbar = crossbar = LiteDRAMCrossbar(controller.interface)
        self.chips = chips = SDRAMPHYModel(module, settings, clk_freq=CLOCK, verbosity=SDRAM_VERBOSE_STD)
        self.backends = {}
        for beat in WIDTHS:
            geometry = Geometry(AcceleratorConfig(beat_bytes=beat))
            port = crossbar.get_port(data_width=8 * beat)
            self.backends[beat] = LiteDRAMBackend(geometry, port)
            self.add_module(f"backend_{beat}", self.backends[beat])

        # # #

        self.comb += controller.dfi.connect(chips.dfi)


@cache
def bench() -> Bench:
    dut = Dut()
    ports = {beat: backend.port for beat, backend in dut.backends.items()}
    return Bench(
        dut,
        {
            **{f"command{beat}": port.command for beat, port in ports.items()},
            **{f"write{beat}": port.write for beat, port in ports.items()},
        },
        {f"data{beat}": port.data for beat, port in ports.items()},
        outputs={f"pending{beat}": port.writes_pending for beat, port in ports.items()},
    )


def settle(dut: Bench, beat: int) -> None:
    """Wait until no write is pending; it must come to that."""
    for _ in range(200):
        if not dut.get(f"pending{beat}"):
            return
        dut.tick(10)
    raise AssertionError("writes stay pending")


def places(rng: random.Random, beat: int, count: int) -> list[int]:
    """Addresses of beats in the part of this width: runs, and jumps to other rows and banks."""
    size = BYTES // beat
    base = WIDTHS.index(beat) * size
    found: list[int] = []
    while len(found) < count:
        start, length = rng.randrange(size), rng.choice((1, 2, 7, 40))
        found += [base + (start + i) % size for i in range(length)]
    return found[:count]


@pytest.mark.parametrize("beat", WIDTHS)
def test_what_was_written_is_read(beat: int, capfd: pytest.CaptureFixture[str]) -> None:
    """In order, through rows, banks and refreshes, and without a violation of the chips' timing."""
    dut = bench()
    memory: dict[int, int] = {}
    for seed in range(12):
        rng = random.Random(f"{beat} {seed}")
        writes = []
        for place in places(rng, beat, rng.choice((1, 40, 300))):
            memory[place] = rng.getrandbits(8 * beat)
            writes.append({"address": place, "data": memory[place], "last": rng.randrange(2)})
        dut.run({f"write{beat}": writes}, {}, offer=gaps(seed), seed=seed, after=1)
        settle(dut, beat)
        reads = rng.choices(list(memory), k=200)
        run = dut.run(
            {f"command{beat}": [{"address": place} for place in reads]},
            {f"data{beat}": len(reads)},
            offer=gaps(seed + 5),
            take=gaps(seed + 9),
            seed=seed,
        )
        assert [token["data"] for token in run.tokens[f"data{beat}"]] == [memory[place] for place in reads]
    assert "violation" not in capfd.readouterr().out


def test_all_widths_at_once_with_writes_between_reads() -> None:
    """Reads of one region go on while another one is written."""
    dut = bench()
    rng = random.Random(3)
    old = {beat: places(rng, beat, 40) for beat in WIDTHS}
    value = {beat: {place: rng.getrandbits(8 * beat) for place in old[beat]} for beat in WIDTHS}

    def tokens(beat: int, these: list[int]) -> list[dict[str, int]]:
        return [{"address": place, "data": value[beat][place]} for place in these]

    dut.run({f"write{beat}": tokens(beat, old[beat]) for beat in WIDTHS}, {})
    for beat in WIDTHS:
        settle(dut, beat)
    new = {beat: [p for p in places(rng, beat, 100) if p not in value[beat]] for beat in WIDTHS}
    for beat in WIDTHS:
        value[beat] |= {place: rng.getrandbits(8 * beat) for place in new[beat]}
    reads = {beat: rng.choices(old[beat], k=150) for beat in WIDTHS}
    run = dut.run(
        {f"write{beat}": tokens(beat, new[beat]) for beat in WIDTHS}
        | {f"command{beat}": [{"address": place} for place in reads[beat]] for beat in WIDTHS},
        {f"data{beat}": 150 for beat in WIDTHS},
        offer=0.7,
        take=0.8,
    )
    for beat in WIDTHS:
        assert [t["data"] for t in run.tokens[f"data{beat}"]] == [value[beat][p] for p in reads[beat]]
        settle(dut, beat)
    run = dut.run(
        {f"command{beat}": [{"address": place} for place in new[beat]] for beat in WIDTHS},
        {f"data{beat}": len(new[beat]) for beat in WIDTHS},
    )
    for beat in WIDTHS:
        assert [t["data"] for t in run.tokens[f"data{beat}"]] == [value[beat][p] for p in new[beat]]


def test_a_sequence_is_read_as_fast_as_the_chips_allow() -> None:
    """Two cycles a word, but for rows to open and refreshes: 93 % of what the data lines can carry."""
    dut = bench()
    words = 3000
    run = dut.run({"command16": [{"address": i} for i in range(words)]}, {"data16": words})
    cycles = run.cycles["data16"]
    assert 0.92 < 2 * (words - 1) / (cycles[-1] - cycles[0]) < 0.94


def test_a_write_is_pending_from_the_next_cycle_on() -> None:
    dut = bench()
    dut.run({"write16": [{"address": 0}]}, {}, after=1)
    assert dut.get("pending16")
    settle(dut, 16)


def test_a_port_of_another_width_is_refused() -> None:
    geometry = Geometry(AcceleratorConfig(beat_bytes=16))
    for port in (LiteDRAMNativePort("both", 25, 64), LiteDRAMNativePort("read", 25, 128)):
        with pytest.raises(ValueError, match="beats of 128 bits both ways; expected a native port"):
            LiteDRAMBackend(geometry, port)
