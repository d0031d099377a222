# SPDX-License-Identifier: BSD-2-Clause
"""DRAM made ready from the host, for a system without a processor: mode registers, read levelling, a test.

The system's build writes ``dram.json`` beside ``csr.json``: what LiteDRAM's software would do, as data. DDR3
on an ECP5 needs no write levelling. Read levelling sets, for every byte lane, when the chip looks for the
strobe (8 delays of a quarter of the DRAM clock) and how the words are aligned (4 bitslips).

Source: ``liblitedram`` of LiteX 2024.12 (``sdram.c``, ``accessors.c``) and ``ecp5ddrphy.py`` of LiteDRAM
2024.12.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from ...errors import DeviceMismatchError, UnconfirmedWriteError
from .leveling import LaneScan, Leveling

CKE, ODT, RESET_N = 2, 4, 8
SOFTWARE, HARDWARE = CKE | ODT | RESET_N, 1
CS, WE, CAS, RAS, WRITE_DATA, READ_DATA = 1, 2, 4, 8, 16, 32
ACTIVATE, PRECHARGE = RAS | CS, RAS | WE | CS
WRITE, READ = CAS | WE | CS | WRITE_DATA, CAS | CS | READ_DATA
#: Of the pseudo-random patterns, as LiteX's software takes them.
SEEDS = (42, 84, 36)
_TAPS = 0x80200003
_BEATS = 8  # of a burst
_ATTEMPTS = 8
_Result = TypeVar("_Result")


class Registers(Protocol):
    """What the sequence needs of a device: :class:`~spatten_drivers.devices.soc.SocDevice` has it."""

    def read_csr(self, name: str) -> int: ...
    def write_csr(self, name: str, value: int) -> None: ...
    def set_csr(self, name: str, value: int) -> None:
        """Write a register that may be written again if nobody knows whether it was."""


@dataclass(frozen=True)
class Dram:
    """A DRAM and its physical interface, as the build describes them in ``dram.json``.

    Attributes
    ----------
    phy : LiteDRAM's name of the interface.
    data_bits : width of the DRAM.
    phases, read_phase, write_phase : DFI phases a cycle, and those that carry read and write commands.
    bitslips, delays : settings of read levelling; 0 where there is none.
    clock_hz : of the system.
    sequence : steps ``{what, address, bank, cycles}`` with ``command``, or ``control`` for the control
    register.
    """

    phy: str
    data_bits: int
    phases: int
    read_phase: int
    write_phase: int
    bitslips: int
    delays: int
    clock_hz: float
    sequence: list[dict[str, Any]]

    @property
    def lanes(self) -> int:
        return self.data_bits // 8

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read ``dram.json``; raises :class:`DeviceMismatchError` if it is not what the build writes."""
        try:
            record = json.loads(Path(path).read_text("utf-8"))
            return cls(**{field.name: record[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeviceMismatchError(
                f"{path}: no description of a DRAM ({type(error).__name__} {error}). It is written beside "
                "the bitstream; give the folder of the one that is loaded"
            ) from error


class DramInit:
    """Runs the sequence over the registers ``sdram_dfii_*`` and ``ddrphy_*``.

    Parameters
    ----------
    registers : of the system.
    dram : from ``dram.json``.
    sleep : how time passes, for the pauses that the DRAM asks for.
    """

    def __init__(self, registers: Registers, dram: Dram, sleep: Callable[[float], None]) -> None:
        self._registers, self._dram, self._sleep = registers, dram, sleep

    def run(self) -> Leveling | None:
        """Initialise and level, then leave the DRAM to its controller; what levelling found, if it is needed.

        Raises
        ------
        DramError : a lane has no window; the report is in the message.
        """
        self._registers.set_csr("sdram_dfii_control", SOFTWARE)
        for step in self._dram.sequence:
            self._again(self._step, step)
        leveling = self._level() if self._dram.delays else None
        self._registers.set_csr("sdram_dfii_control", HARDWARE)
        return leveling

    @staticmethod
    def _again(action: Callable[..., _Result], *arguments: Any) -> _Result:
        """Do what begins from a known state once more if nothing confirms one of its writes."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return action(*arguments)
            except UnconfirmedWriteError:
                continue
        return action(*arguments)

    def _step(self, step: dict[str, Any]) -> None:
        self._registers.set_csr("sdram_dfii_pi0_address", step["address"])
        self._registers.set_csr("sdram_dfii_pi0_baddress", step["bank"])
        if "control" in step:
            self._registers.set_csr("sdram_dfii_control", step["control"])
        else:
            self._issue(0, step["command"])
        self._sleep(step["cycles"] / self._dram.clock_hz)

    def _issue(self, phase: int, command: int) -> None:
        self._registers.set_csr(f"sdram_dfii_pi{phase}_command", command)
        self._registers.write_csr(f"sdram_dfii_pi{phase}_command_issue", 1)

    # Read levelling -------------------------------------------------------------------------------

    def _level(self) -> Leveling:
        """Scan all lanes at once, since each only looks at its own byte; then set each to its best."""
        dram = self._dram
        lanes = [LaneScan(lane, dram.bitslips, dram.delays) for lane in range(dram.lanes)]
        every = (1 << dram.lanes) - 1
        for bitslip in range(dram.bitslips):
            for delay in range(dram.delays):
                self._set(every, bitslip, delay)
                for lane, errors in zip(lanes, self._errors(SEEDS), strict=True):
                    lane.errors[bitslip][delay] = errors
        leveling = Leveling(lanes)
        leveling.require_windows()
        for lane in lanes:
            assert lane.best is not None
            self._set(1 << lane.lane, lane.best.bitslip, lane.best.delay)
        leveling.require_errors_gone(self._errors(tuple(range(1, 9))))
        return leveling

    def _set(self, lanes: int, bitslip: int, delay: int) -> None:
        """Both settings count up from a reset; then all lanes' clocks are brought into step by a pause."""
        self._again(self._select, lanes, "bitslip", bitslip)
        self._again(self._select, lanes, "", delay)

    def _select(self, lanes: int, what: str, steps: int) -> None:
        reset = f"ddrphy_rdly_dq_{what}_rst" if what else "ddrphy_rdly_dq_rst"
        step = f"ddrphy_rdly_dq_{what}" if what else "ddrphy_rdly_dq_inc"
        self._registers.set_csr("ddrphy_dly_sel", lanes)
        self._registers.set_csr(reset, 1)
        for _ in range(steps):
            self._registers.write_csr(step, 1)
        for value in (0, (1 << self._dram.lanes) - 1, 0):
            self._registers.set_csr("ddrphy_dly_sel", value)

    def _errors(self, seeds: tuple[int, ...]) -> list[int]:
        """Wrong bits by lane over patterns written and read; a burst that was not seen counts as one more."""
        totals = [0] * self._dram.lanes
        for seed in seeds:
            wanted = pattern(seed, self._dram.phases, self._dram.data_bits * _BEATS // self._dram.phases)
            read, seen = self._again(self._write_and_read, wanted)
            for lane in range(self._dram.lanes):
                wrong = (self._lane_bits(a ^ b, lane) for a, b in zip(wanted, read, strict=True))
                totals[lane] += sum(bits.bit_count() for bits in wrong) + (not seen >> lane & 1)
        return totals

    def _lane_bits(self, word: int, lane: int) -> int:
        """The bits of a phase's data that go over a byte lane: a byte of every beat."""
        beats = _BEATS // self._dram.phases
        mask = sum(0xFF << beat * self._dram.data_bits + 8 * lane for beat in range(beats))
        return word & mask

    def _write_and_read(self, wanted: list[int]) -> tuple[list[int], int]:
        registers, dram = self._registers, self._dram
        self._command(0, PRECHARGE)  # the row is open if an attempt before broke off
        self._command(0, ACTIVATE)
        for phase, data in enumerate(wanted):
            registers.set_csr(f"sdram_dfii_pi{phase}_wrdata", data)
        self._command(dram.write_phase, WRITE)
        registers.set_csr("ddrphy_burstdet_clr", 1)
        self._command(dram.read_phase, READ)
        self._command(0, PRECHARGE)
        read = [registers.read_csr(f"sdram_dfii_pi{phase}_rddata") for phase in range(dram.phases)]
        return read, registers.read_csr("ddrphy_burstdet_seen")

    def _command(self, phase: int, command: int) -> None:
        """To row 0, column 0 of bank 0."""
        self._registers.set_csr(f"sdram_dfii_pi{phase}_address", 0)
        self._registers.set_csr(f"sdram_dfii_pi{phase}_baddress", 0)
        self._issue(phase, command)


def pattern(seed: int, phases: int, bits: int) -> list[int]:
    """Pseudo-random data by phase, from the shift register that LiteX's software uses."""
    state, words = seed, []
    for _ in range(phases):
        word = 0
        for bit in range(bits):
            state = (state >> 1) ^ (_TAPS if state & 1 else 0)
            word |= (state & 1) << bit
        words.append(word)
    return words
