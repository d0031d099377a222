# SPDX-License-Identifier: BSD-2-Clause
"""The system with what it may have besides: SERV with LiteX's BIOS, and LiteScope.

Those of the processor build a system with both (it takes what 'spatten[cpu]' brings), boot it, and share it.
The BIOS takes 94 million cycles, 52 of them to level: a quarter of an hour of a CPU.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pytest
from migen import run_simulation

from spatten_drivers import Accelerator, Emulator, Quantization, open_device
from spatten_drivers.devices import CsrMap
from spatten_drivers.devices.litex.dram_init import Dram, DramInit
from spatten_drivers.devices.scope import CsrProxies
from spatten_drivers.devices.verilator import Verilator
from spatten_drivers.errors import ConfigError
from spatten_fpga.sim.lanes import WINDOW, window_of
from spatten_fpga.soc.processor import CONSOLE_BYTES, Console, chosen_processor, processor_for
from spatten_fpga.soc.simulation import BOARDS, SimulatedSoc
from spatten_fpga.soc.soc import SpattenSoc
from tests.drivers.floats import layer

URI = "verilator?preset=small&door=back&with=cpu,analyzer"
UNSEEN = 4  # samples
NEEDED = ("pythondata_cpu_serv", "pythondata_software_picolibc", "ziglang", "mesonbuild", "ninja")


# Parts ----------------------------------------------------------------------------------------------


def test_the_console_keeps_the_last_characters() -> None:
    """In a ring; each goes to its byte, and reading takes nothing away."""
    console, written = Console(), CONSOLE_BYTES + 9
    words: list[int] = []

    def drive() -> Iterator[object]:
        yield console.sink.valid.eq(1)
        for n in range(written):
            yield console.sink.data.eq(n * 7 % 251)
            yield
        yield console.sink.valid.eq(0)
        yield
        for address in (0, 1, 2, 3, 2, CONSOLE_BYTES // 4 - 1):
            words.extend([(yield from console.bus.read(address))])
        words.append((yield console._count.status))

    run_simulation(console, drive())
    kept = [0] * CONSOLE_BYTES
    for n in range(written):
        kept[n % CONSOLE_BYTES] = n * 7 % 251
    whole = np.array(kept, np.uint8).view("<u4")
    assert words == [*(int(whole[n]) for n in (0, 1, 2, 3, 2, CONSOLE_BYTES // 4 - 1)), written]


def test_only_memory_that_needs_levelling_gets_a_processor() -> None:
    assert {name: processor_for(board.settings) for name, board in BOARDS.items()} == {
        "ecp5-85f": "serv",
        "ecp5-85f-slim": "serv",
        "ecp5-25f": None,
        "ecp5-25f-slim": None,
        "small": "serv",
    }


def test_a_board_has_its_usual_processor_unless_told_otherwise() -> None:
    levelled, plain = BOARDS["ecp5-85f"].settings, BOARDS["ecp5-25f"].settings
    assert [chosen_processor(asked, levelled, "one") for asked in (None, "serv", "none")] == [
        "serv",
        "serv",
        None,
    ]
    assert [chosen_processor(asked, plain, "one") for asked in (None, "none")] == [None, None]
    with pytest.raises(ConfigError, match=r"^one needs no processor: its memory is not levelled"):
        chosen_processor("serv", plain, "one")


def test_a_system_with_both_has_what_software_and_host_look_for() -> None:
    """And one without has none of it."""
    pytest.importorskip("pythondata_cpu_serv", reason="pip install 'spatten[cpu]': SERV is not installed")
    soc = SimulatedSoc(BOARDS["small"], cpu_type="serv", with_analyzer=True)
    soc.finalize()
    assert {"rom", "sram", "console", "main_ram"} <= set(soc.mem_regions)
    assert {"ddrphy", "console", "analyzer", "ddrctrl", "uart", "timer0"} <= set(soc.csr_regions)
    assert "CONFIG_CPU_TYPE_SERV" in soc.constants
    assert soc.constants["MEMTEST_DATA_SIZE"] == soc.constants["MEMTEST_ADDR_SIZE"] == 1 << 14
    assert SpattenSoc.tested_bytes >= 0x10000, "LiteX's memtest.c leaves address lines out"
    assert sum(soc.analyzer_probes.values()) == soc.analyzer.data_width
    plain = SimulatedSoc(BOARDS["small"])
    plain.finalize()
    assert {"ddrphy", "console", "analyzer", "uart"} & {*plain.csr_regions, *plain.mem_regions} == set()


# The whole -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def soc() -> Iterator[Verilator]:
    """Booted: opening it waits for the BIOS."""
    for name in NEEDED:
        pytest.importorskip(name, reason=f"pip install 'spatten[cpu]': {name} is not installed")
    with open_device(URI) as device:
        assert isinstance(device, Verilator)
        yield device


def same_as_the_emulator(soc: Verilator) -> None:
    """A pruned job with refetches."""
    results = []
    for device in (soc, Emulator(soc.config, memory_bytes=soc.memory_bytes)):
        data = layer(device, Quantization.progressive(6, 4, 0.3), tokens=20)
        results.append(Accelerator(device).attend(data.sequence, data.request(keep_tokens=9)))
    found, expected = results
    assert found.answer.differences(expected.answer) == []
    assert (found.output == expected.output).all()


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_the_bios_levels_and_tests_memory_and_releases_the_core(soc: Verilator) -> None:
    printed = soc.console()
    assert soc.has_processor
    assert "CPU:" in printed
    assert "SERV" in printed
    assert "Memtest OK" in printed
    assert soc.read_csr("ddrctrl_init_done") == 1
    assert soc.read_csr("ddrctrl_init_error") == 0
    for lane in range(2):
        slip, delays = window_of(lane, BOARDS["small"].settings)
        middle, reach = (delays.start + delays.stop - 1) // 2, (WINDOW - 1) // 2
        best = f"best: m{lane}, b{slip:02d} delays: {middle:02d}+-{reach:02d}"
        assert best in printed, printed
    same_as_the_emulator(soc)


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_the_driver_levels_the_same_lanes(soc: Verilator) -> None:
    """From ``dram.json``, by the registers of the RTL, after whatever stood in them was spoilt."""
    soc.write_csr("ddrphy_dly_sel", 3)
    soc.write_csr("ddrphy_rdly_dq_rst", 1)
    soc.write_csr("ddrphy_dly_sel", 0)
    found = DramInit(Registers(soc), Dram.load(soc.folder / "dram.json"), lambda seconds: None).run()
    assert found is not None
    for lane in found.lanes:
        slip, delays = window_of(lane.lane, BOARDS["small"].settings)
        assert lane.best is not None
        assert (lane.best.bitslip, lane.best.first, lane.best.last) == (slip, delays.start, delays.stop - 1)
    soc.door = "front"
    soc.write_memory(4096, np.arange(64, dtype=np.uint8))
    assert soc.read_memory(4096, 64).tolist() == list(range(64))
    soc.door = "back"
    same_as_the_emulator(soc)


class Registers:
    """Registers of a simulated system as :class:`DramInit` wants them; every write arrives."""

    def __init__(self, soc: Verilator) -> None:
        self.read_csr, self.write_csr, self.set_csr = soc.read_csr, soc.write_csr, soc.write_csr


@pytest.fixture(scope="module")
def analyzed() -> Iterator[Verilator]:
    """A system with the analyzer alone."""
    with open_device("verilator?preset=small&door=back&with=analyzer") as device:
        assert isinstance(device, Verilator)
        yield device


@pytest.mark.deep
def test_the_analyzer_sees_a_job_as_the_answer_counts_it(analyzed: Verilator) -> None:
    """By LiteScope's own driver over our device: triggered by the job, then every cycle of its first part.

    The system takes some two minutes of a CPU to build, the rest a second.
    """
    litescope, soc = pytest.importorskip("litescope"), analyzed
    analyzer = litescope.LiteScopeAnalyzerDriver(
        CsrProxies(soc), "analyzer", config_csv=str(soc.folder / "analyzer.csv")
    )
    analyzer.configure_group(0)
    analyzer.configure_subsampler(1)
    analyzer.configure_trigger(cond={"job_valid": "1"})
    analyzer.run(offset=16)
    soc.bus.run(analyzer.depth)  # it empties its memory first, and would take a trigger but no samples
    data = layer(soc, Quantization.static(8), tokens=2)
    Accelerator(soc).attend(data.sequence, data.request())
    soc.bus.run(analyzer.depth)
    analyzer.wait_done()
    analyzer.upload()
    rows = csv.DictReader(
        io.StringIO((soc.folder / "analyzer.csv").read_text()), ("what", "group", "name", "bits")
    )
    names = [(row["name"], int(row["bits"])) for row in rows if row["what"] == "signal"]
    seen: dict[str, list[int]] = {}
    place = 0
    for name, bits in names:
        seen[name] = [word >> place & (1 << bits) - 1 for word in analyzer.data]
        place += bits
    # LiteScope leaves the last samples in its way out, where its level does not count them.
    assert len(seen["job_valid"]) >= analyzer.depth - UNSEEN
    begin = seen["job_valid"].index(1)
    assert begin <= 17  # the samples before the trigger, and what the pipeline holds
    assert not any(seen["running"][:begin])
    assert set(seen["dram_ready"]) == {1}
    assert any(v and r for v, r in zip(seen["command_valid"], seen["command_ready"], strict=True))
    assert any(seen["running"])
    idle = [n for n, running in enumerate(seen["running"]) if not running]
    assert not any(seen["busy_qk"][n] for n in idle)
    assert CsrMap.load(soc.folder / "csr.json").addresses["analyzer_storage_done"]
