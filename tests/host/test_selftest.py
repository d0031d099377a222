# SPDX-License-Identifier: BSD-2-Clause
"""`spatten selftest`: a good device passes every item, and each injected fault is found by its item."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from spatten.cli import app
from spatten.cli.selftest import vectors_here
from spatten.selftest import FAIL, ITEMS, NOT_RUN, PASS, UNMEASURED, Bench, Item, Report, run_selftest
from spatten.selftest import memory as memory_items
from spatten.selftest.jobs import golden, image_of, random_jobs
from spatten.selftest.memory import READ_DELAY
from spatten.selftest.result import SelftestFault
from spatten.selftest.speed import HOST_CYCLES, _impossible
from spatten_drivers import PRESETS, AcceleratorConfig, Emulator
from spatten_drivers.devices import SocDevice
from spatten_drivers.errors import LinkDamageError, LinkTimeoutError
from spatten_drivers.job import decode_header
from spatten_drivers.registers import REGISTER_BY_NAME
from tests.drivers.devices.soc_bus import EmulatedSoc
from tests.model.oracle import run_job
from tests.model.oracle_config import OracleConfig
from tests.model.oracle_format import Status

CONFIG = PRESETS["ecp5-25f"]
NAMES = [name for name, _, _ in ITEMS]
CLOCKLESS = {"leveling", "cycles", "link"}  # what an emulator has nothing of
NO_FOLDER = Path("no-such-folder")
DEEP = ("ecp5-85f", "ecp5-85f-slim", "ecp5-25f-slim")  # systems that take minutes to build


class Device(Emulator):
    """A small emulator; subclasses break it."""

    def __init__(self) -> None:
        super().__init__(CONFIG, memory_bytes=1 << 20, kernel="numpy")


def examined(device: Emulator, vectors: Path | None = NO_FOLDER, **options: Any) -> dict[str, Item]:
    """Items by name."""
    bench = Bench(device, window=4096, soak_seconds=0.0, vectors=vectors, **options)
    report = run_selftest(bench, "broken", done=lambda item: None)
    assert [item.name for item in report.items] == NAMES
    return {item.name: item for item in report.items}


def failed(device: Emulator) -> dict[str, str]:
    """What failed, with its words."""
    return {name: item.text for name, item in examined(device).items() if item.verdict == FAIL}


def test_a_good_device_passes() -> None:
    items = examined(Device(), vectors=vectors_here())
    expected = {name: UNMEASURED if name in CLOCKLESS else PASS for name in NAMES}
    assert {name: item.verdict for name, item in items.items()} == expected
    assert "ecp5-25f, digest" in items["identity"].text
    assert items["memory"].figures["words_compared"] > 10 * 4096 // 4
    assert items["memory"].figures["words_wrong"] == 0
    assert items["jobs"].figures["jobs"] == [spec.name for spec in golden(CONFIG)]


def test_vectors_run_where_their_beats_fit() -> None:
    device = Emulator(memory_bytes=1 << 20, kernel="numpy")
    (item,) = [item for name, item in examined(device, vectors=vectors_here()).items() if name == "vectors"]
    assert item.verdict == PASS
    assert item.figures["ended"]["DONE"] >= 20
    assert "thousand_keys.npz" in item.figures["vectors"]


# Faults -------------------------------------------------------------------------------------------


class StuckBit(Device):
    """A data line of memory that is stuck at 1 over a range of addresses."""

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        data = super().read_memory(address, size)
        for at in range(-(-(address - 2) // 4) * 4 + 2, address + size, 4):
            if at >= address and 0x400 <= at < 0x500:
                data[at - address] |= 0x10
        return data


class ShortedAddresses(Device):
    """An address line that is tied to ground: the upper half of memory is the lower one again."""

    def _where(self, address: int, size: int) -> int:
        return address % (1 << 19) if address % (1 << 19) + size <= 1 << 19 else address

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        return super().read_memory(self._where(address, size), size)

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        super().write_memory(self._where(address, data.size), data)


class Coupled(Device):
    """A write of ones to one block clears a bit of the block before: only a march down sees it."""

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        super().write_memory(address, data)
        if address == 0x300 and data.size == memory_items.BLOCK and (data == 0xFF).all():
            self._memory[0x2FF] &= 0x7F


class StuckRegister(Device):
    """Bit 8 of WATCHDOG reads 0."""

    def read_word(self, address: int) -> int:
        value = super().read_word(address)
        return value & ~0x100 if address == self.register_addresses["WATCHDOG"] else value


class OtherDigest(Device):
    """Another bitstream is loaded while the device is open."""

    loaded = False

    def read_word(self, address: int) -> int:
        other = self.loaded and address == self.register_addresses["CONFIG_DIGEST_LO"]
        return super().read_word(address) ^ (1 << 5 if other else 0)


class WrongAnswer(Device):
    """One bit of the output of every job is wrong."""

    def _run_next_job(self) -> None:
        address = self._queue[0] if self._queue else None
        done = self._get("JOBS_DONE")
        super()._run_next_job()
        if address is None or self._get("JOBS_DONE") == done or self._get("JOB_ERROR"):
            return
        output = decode_header(self._memory[address : address + 256])["output_address"]
        self._memory[output + 2] ^= 4


class BeyondItsRegion(WrongAnswer):
    """A job writes a byte below everything that is its own."""

    def _run_next_job(self) -> None:
        waiting = bool(self._queue)
        Device._run_next_job(self)
        if waiting and not self._queue:
            self._memory[self._memory.size - 100] ^= 1


class NeverRefuses(Device):
    """A job of another configuration is run as if it were none."""

    def _count(self, ended: int, status: Any) -> None:
        super()._count(ended, type(status).DONE)


class Forgets(Device):
    """Memory that is not refreshed."""

    def _run_next_job(self) -> None:
        if self._queue:
            self._memory[-4096 + 7] ^= 0x80
        super()._run_next_job()


class Silent(Device):
    """The link breaks at the first job."""

    def push_job(self, address: int, timeout: float) -> int:
        raise LinkTimeoutError("etherbone: no valid answer to 8 requests")


class BadLine(Device):
    """A link that reads back what it writes to memory, over a memory with a stuck bit."""

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        super().write_memory(address, data)
        if address <= 0x400 < address + data.size and not data[0x400 - address] & 1:
            self._memory[0x400] |= 1
            raise LinkDamageError("memory does not hold what was written")


def test_a_stuck_data_line_is_named() -> None:
    found = failed(StuckBit())
    assert "bits 0x00100000 (byte lanes 2)" in found["memory"]
    assert "March C-: at 0x400 wrote 0x00000000, read 0x00100000" in found["memory"]
    assert "jobs" in found


def test_shorted_address_lines_are_found() -> None:
    assert "address lines: at 0x0 wrote" in failed(ShortedAddresses())["memory"]


def test_coupled_cells_are_found() -> None:
    assert "March C-: at 0x2fc wrote 0xffffffff, read 0x7fffffff" in failed(Coupled())["memory"]


def test_a_stuck_register_bit_is_named() -> None:
    found = failed(StuckRegister())
    assert list(found) == ["registers"]
    assert "WATCHDOG reads 0x00000000, expected 0x00000100 (bits 0x00000100)" in found["registers"]


def test_another_digest_is_found() -> None:
    device = OtherDigest()
    device.loaded = True
    wanted = CONFIG.digest & 0xFFFFFFFF
    assert f"CONFIG_DIGEST_LO reads {wanted ^ 32:#x}, expected {wanted:#x}" in failed(device)["identity"]


def test_a_wrong_answer_is_named_by_field_and_index() -> None:
    found = failed(WrongAnswer())
    assert {"jobs", "cycles", "soak"} == set(found)
    assert "dense, 12 bits: output[0][0][1]: expected" in found["jobs"]
    assert "job 1 of seed 0: output" in found["soak"]


def test_a_byte_beyond_the_job_is_found() -> None:
    assert "did not keep what they held" in failed(BeyondItsRegion())["soak"]


def test_memory_that_forgets_is_found() -> None:
    assert list(failed(Forgets())) == ["soak"]


def test_a_job_that_should_be_refused() -> None:
    found = failed(NeverRefuses())
    assert "ended with PENDING; the software model ends with BAD_DIGEST" in found["jobs"]


def test_memory_that_a_link_reads_back_is_a_finding_not_an_end() -> None:
    found = failed(BadLine())
    assert "read 0x00000001" in found["memory"]


def test_a_device_that_falls_silent_ends_it() -> None:
    items = examined(Silent())
    assert items["memory"].verdict == PASS
    assert items["jobs"].verdict == FAIL
    assert [name for name, item in items.items() if item.verdict == NOT_RUN] == NAMES[
        NAMES.index("jobs") + 1 :
    ]
    assert "not heard any more in the item jobs" in items["soak"].text


def test_a_core_with_an_old_error_is_not_idle() -> None:
    device = Device()
    device._words[REGISTER_BY_NAME["JOB_ERROR"].index] = 6
    assert "STATUS.ERROR is 1, expected 0, JOB_ERROR is 6" in failed(device)["idle"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"cycles": 0, "busy": {"busy_qk": 0, "busy_pv": 0}}, "0 cycles"),
        ({"cycles": 90}, "90 cycles, of which the arrays worked 80 and stood 15"),
        ({"simulator_cycles": 99}, "100 cycles counted while the simulator's clock made 99"),
        ({"simulator_cycles": 101 + HOST_CYCLES}, "the simulator's clock made 2,101"),
        ({"clock_hz": 1e6, "host_seconds": 5e-5}, "0.000100 s counted, 0.000050 s passed"),
    ],
    ids=["good", "no counter", "busier than it ran", "too many", "too few", "faster than time"],
)
def test_counters_that_cannot_be_right(change: dict[str, Any], said: str) -> None:
    row = {"cycles": 100, "busy": {"busy_qk": 80, "busy_pv": 70}, "stalls": {"stall_read": 15}}
    row |= {"simulator_cycles": None, "clock_hz": None, "host_seconds": 1.0} | change
    assert said in _impossible(row)
    assert bool(_impossible(row)) is bool(said)


class Leveled(SocDevice):
    """A board whose memory somebody else made ready, with a console or without one."""

    def __init__(self, printed: str, *registers: str) -> None:
        bus = EmulatedSoc(Emulator(CONFIG, memory_bytes=1 << 16))
        bus.csr_map.addresses.update(dict.fromkeys(registers, 0))
        super().__init__(bus, bus.csr_map, name="board", is_board=True)
        self.printed = printed

    def console(self) -> str:
        return self.printed


REPORT = """Read leveling:
  m0, b00: |00000000| delays: -
  m0, b01: |01111000| delays: 02+-01
  best: m0, b01 delays: 02+-01
  m1, b01: |00111000| delays: 03+-01
  best: m1, b01 delays: 03+-01"""


def test_leveling_that_the_processor_did_is_read_from_its_console() -> None:
    """The last start counts."""
    old = REPORT.replace("best: m1, b01 delays: 03+-01", "best: m1, b00 delays: -")
    device = Leveled(f"BIOS\n{old}\nMemtest KO\n\nBIOS\n{REPORT}\nSwitching SDRAM\n", READ_DELAY)
    found = memory_items.leveling(Bench(device))
    assert found.measured
    assert found.text == f"the board's processor printed:\n{REPORT}"
    assert found.figures == {"delays_by_lane": {0: "02+-01", 1: "03+-01"}}
    with pytest.raises(SelftestFault, match=r"no window on byte lane \[1\]"):
        memory_items.leveling(Bench(Leveled(old, READ_DELAY)))


@pytest.mark.parametrize(
    ("registers", "said"),
    [
        ((READ_DELAY,), "nobody tells its windows: open it with level=1 behind its uri"),
        ((), "there is no DRAM that needs it"),
    ],
    ids=["DDR3", "SDRAM"],
)
def test_leveling_that_nobody_tells_of(registers: tuple[str, ...], said: str) -> None:
    found = memory_items.leveling(Bench(Leveled("", *registers)))
    assert not found.measured
    assert said in found.text


# Jobs ---------------------------------------------------------------------------------------------


def ids(spec: Any) -> str:
    return str(spec.name)


@pytest.mark.parametrize("spec", golden(CONFIG), ids=ids)
def test_golden_jobs_are_as_the_oracle_has_them(spec: Any) -> None:
    """An implementation of the contract of its own ends them alike, to the last byte."""
    image, again = image_of(spec, CONFIG), image_of(spec, CONFIG)
    assert (image.memory == again.memory).all()
    found, bench = bytearray(image.memory.tobytes()), Bench(Device())
    status = run_job(found, image.descriptor, OracleConfig(**asdict(CONFIG)))
    device = bench.device
    device.write_memory(0, image.memory)
    device.wait_for_jobs(device.push_job(image.descriptor, 60.0), 60.0)
    assert device.read_memory(0, image.memory.size).tobytes() == bytes(found)
    assert (Status(status) == Status.DONE) is (spec.broken is None)


def test_other_seeds_give_other_jobs() -> None:
    def some(seed: int) -> list[Any]:
        jobs = random_jobs(CONFIG, seed)
        return [next(jobs) for _ in range(20)]

    assert some(1) == some(1) != some(2)
    assert any(spec.broken for spec in some(1) + some(2) + some(3))


def test_jobs_fit_the_smallest_configuration() -> None:
    least = AcceleratorConfig(
        lanes=8, head_dims=(128,), max_sequence=16, max_heads=1, kv_buffer_rows=0, query_buffer_rows=1,
        topk_parallelism=1, job_queue_depth=1, beat_bytes=64,
    )  # fmt: skip
    device = Emulator(least, memory_bytes=1 << 20, kernel="numpy")
    assert [name for name, item in examined(device).items() if item.verdict == FAIL] == []


# Command ------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Result, dict[str, Any]]]:
    """The command with its file."""

    def run(*arguments: str) -> tuple[Result, dict[str, Any]]:
        file = tmp_path / "selftest.json"
        result = CliRunner().invoke(app, ["selftest", "--file", str(file), *arguments])
        return result, json.loads(file.read_text("utf-8")) if file.exists() else {}

    return run


def test_command_on_the_emulator(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    device = "emulator?preset=ecp5-25f&memory=1MiB"
    result, written = run("--device", device, "--memory", "4KiB", "--soak", "0")
    assert result.exit_code == 0, result.output
    assert "PASS  emulator (config" in result.stdout
    assert "; not measured: leveling, cycles, link\n" in result.stdout
    assert written["verdict"] == "PASS"
    assert written["not_measured"] == ["leveling", "cycles", "link"]
    assert written["config_digest"] == f"{CONFIG.digest:016x}"
    assert {"python", "spatten", "numpy"} <= set(written["versions"])
    assert [item["name"] for item in written["items"]] == NAMES


def test_a_device_that_cannot_be_opened(run: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    result, written = run("--device", "nowhere", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == written
    assert written["failed"] == ["open"]
    assert "no device is known by 'nowhere'" in written["items"][0]["text"]


def test_a_failing_device_has_exit_code_1(
    run: Callable[..., tuple[Result, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spatten.cli.selftest.open_device", lambda *_, **__: StuckRegister())
    result, written = run("--memory", "4KiB", "--soak", "0")
    assert result.exit_code == 1
    assert "FAIL  registers" in result.stdout
    assert "FAIL  emulator" in result.stdout
    assert written["failed"] == ["registers"]


def test_an_unwritable_file_is_told_before_anything_runs() -> None:
    result = CliRunner().invoke(app, ["selftest", "--file", "no/such/folder.json"])
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


@pytest.mark.parametrize(
    "preset",
    ["small", *(pytest.param(name, marks=pytest.mark.deep) for name in DEEP)],
)
def test_on_the_simulated_system(run: Callable[..., tuple[Result, dict[str, Any]]], preset: str) -> None:
    """The RTL with LiteDRAM's controller: everything is measured there but levelling.

    Cycles of ``ecp5-85f`` are held to the plan.
    """
    device = f"verilator?preset={preset}&door=back"
    result, written = run("--device", device, "--memory", "64KiB", "--soak", "1")
    assert result.exit_code == 0, result.output
    verdicts = {item["name"]: item["verdict"] for item in written["items"]}
    assert verdicts == dict.fromkeys(NAMES, PASS) | {"leveling": UNMEASURED}
    (cycles,) = [item["figures"]["jobs"] for item in written["items"] if item["name"] == "cycles"]
    assert all(0 < job["cycles"] <= job["simulator_cycles"] for job in cycles)


def test_a_report_with_items_that_did_not_run_is_no_pass() -> None:
    report = Report("x", {}, [Item("jobs", NOT_RUN, "")])
    assert (report.verdict, report.failed) == (FAIL, [])
