# SPDX-License-Identifier: BSD-2-Clause
"""The ``litex`` device: a board, or any system with LiteX's bridges, over a network or a serial line."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ...bitstream import DRAM, Bitstream
from ...config import AcceleratorConfig
from ...errors import DeviceError, DeviceMismatchError, DramError, UnconfirmedWriteError
from ...registers import REGISTER_BY_NAME
from ..bus import Bus
from ..csr_map import CsrMap
from ..soc import SocDevice
from .dram_init import Dram, DramInit
from .leveling import Leveling
from .memory_test import MemoryTest

ATTEMPTS = 8
#: Seconds that the software on a board's processor may take to level and test its memory.
BIOS_SECONDS = 20.0
CPU_RESET = 2  # of LiteX's register ctrl_reset: the processor alone
CONSOLE_LINES = 12  # of the processor's console in a message
_COUNT = 1 << 32


class LitexDevice(SocDevice):
    """A SpAtten system on chip behind a bus that checks what it carries.

    Jobs are never pushed twice: when nothing confirms a push, the device's own count of jobs decides whether
    it arrived. That count is compared before each push, so a push that the network repeated is seen.

    Parameters
    ----------
    bus, csr_map, name, is_board : as for :class:`SocDevice`. The bus raises :class:`UnconfirmedWriteError`
        where nothing says whether a register took a write; one that has ``counts`` tells of faults that it
        detected.
    resources : what is released when the device is closed, such as the lock of the board.
    dram : how to make memory ready, if the system has no processor that does.
    window : bytes of memory that are tested cell by cell when it has been made ready.
    renew : make memory ready anew, though it is; what it holds is lost.
    bitstream : that the board must run, if its folder is known.

    Attributes
    ----------
    leveling : the report of read levelling, if this process did it.
    """

    def __init__(
        self,
        bus: Bus,
        csr_map: CsrMap,
        *,
        name: str,
        is_board: bool = True,
        resources: ExitStack | None = None,
        dram: Dram | None = None,
        window: int = 1 << 14,
        renew: bool = False,
        bitstream: Bitstream | None = None,
    ) -> None:
        self._resources, self._dram = resources or ExitStack(), dram
        self._window, self._renew = window, renew
        self.bitstream = bitstream
        self.leveling = None
        super().__init__(bus, csr_map, name=name, is_board=is_board)

    leveling: Leveling | None

    @property
    def link_counts(self) -> Mapping[str, int]:
        """Faults of the link that were detected so far, by kind."""
        return dict(getattr(self.bus, "counts", {}))

    def report(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in self.link_counts.items()) or "none"
        lines = [f"link faults detected since opening: {faults}"]
        if self.leveling:
            lines.append(self.leveling.text())
        if printed := self.console():
            lines.append(f"the processor's console:\n{printed}")
        return "\n".join(lines)

    def write_word(self, address: int, value: int) -> None:
        word = np.array([value], np.uint32)
        if address == self.register_addresses["JOB_PUSH"]:
            self._push_once(word)
        else:
            self._until_confirmed(lambda: self.bus.write(address, word))

    def set_csr(self, name: str, value: int) -> None:
        """Write a register of the system for which twice is the same as once."""
        self._until_confirmed(lambda: self.write_csr(name, value))

    def wait_for_jobs(self, count: int, timeout: float) -> None:
        super().wait_for_jobs(count, timeout)
        if 0 < (self._ended - self._pushed) % _COUNT < _COUNT // 2:
            raise self._pushed_twice(self._ended)

    def close(self) -> None:
        super().close()
        self._resources.close()

    def expected_config(self) -> AcceleratorConfig | None:
        return self.bitstream.config if self.bitstream else None

    def identify(self) -> None:
        super().identify()
        if self.bitstream:
            self.bitstream.require_device(self)
        wanted = str(self.csr_map.constants.get("config_identifier", ""))  # which LiteX puts in lower case
        if "identifier_mem" not in self.csr_map.bases or not wanted:
            return
        words = self.bus.read(self.csr_map.bases["identifier_mem"], len(wanted) + 1)
        found = bytes(words.astype(np.uint8)).split(b"\0")[0].decode("latin-1")
        if found.lower() != wanted:
            raise DeviceMismatchError(
                f"{self.name}: calls itself {found!r} (configuration {self.config.digest:016x}), but "
                f"{self.csr_map.source} is of {wanted!r}. Give the csr.json that was written with the "
                "loaded bitstream"
            )

    # Jobs -----------------------------------------------------------------------------------------

    def _push_once(self, word: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> None:
        self._require_jobs(self._pushed)
        for _ in range(ATTEMPTS):
            try:
                self.bus.write(self.register_addresses["JOB_PUSH"], word)
                return
            except UnconfirmedWriteError as error:
                last = error
            if self._require_jobs(self._pushed, self._pushed + 1) != self._pushed:
                return
        raise last

    def _require_jobs(self, *counts: int) -> int:
        """How many jobs the device has taken; one of ``counts``, or somebody else pushed one."""
        for _ in range(ATTEMPTS):
            taken = self._jobs_taken()
            if taken in (count % _COUNT for count in counts):
                return taken
        raise self._pushed_twice(taken)

    def _jobs_taken(self) -> int:
        """Jobs ended, running and waiting, from registers that stood still while they were read."""
        before = None
        while before != (now := (self.read_register("JOBS_DONE"), self.read_register("STATUS"))):
            before = now
        done, status = now
        word = REGISTER_BY_NAME["STATUS"]
        fields = {field.name: status >> field.lsb & field.mask for field in word.fields}
        return (done + (0 if fields["IDLE"] else 1 + fields["QUEUE_LEVEL"])) % _COUNT

    def _pushed_twice(self, taken: int) -> DeviceError:
        return DeviceError(
            f"{self.name}: the device has taken {taken} jobs since reset, this program knows of "
            f"{self._pushed}. The network repeated a push, or another host drives the board: what the last "
            "jobs wrote is not to be trusted. Open the device again and start anew"
        )

    # Memory ---------------------------------------------------------------------------------------

    def _check_memory(self) -> None:
        if self._renew:
            self.set_csr("ddrctrl_init_done", 0)
        super()._check_memory()

    def initialise_memory(self) -> None:
        """By the processor's software if the system has one, else from here."""
        if self.has_processor or self._dram is None:
            self._wait_for_processor()
            return
        self.set_csr("ddrctrl_init_done", 0)
        self.set_csr("ddrctrl_init_error", 0)
        try:
            self.leveling = DramInit(self, self._dram, time.sleep).run()
            MemoryTest(self.bus, self._memory.base, self.memory_bytes, self._window).run()
        except DramError as error:
            self.set_csr("ddrctrl_init_error", 1)
            raise DramError(f"{self.name}: {error}") from error
        self.set_csr("ddrctrl_init_done", 1)

    def _wait_for_processor(self) -> None:
        if not self.has_processor:
            raise DeviceError(
                f"{self.name}: memory is not initialised, the system has no processor that does it, and "
                f"there is no dram.json beside {self.csr_map.source}. Give the folder that the build wrote"
            )
        if self._renew:
            self.set_csr("ctrl_reset", CPU_RESET)
            self.set_csr("ddrctrl_init_error", 0)  # of its last start: its software is slow to
            self.set_csr("ctrl_reset", 0)
        deadline = time.monotonic() + BIOS_SECONDS
        while not self.read_fields("STATUS")["DRAM_READY"]:
            if "ddrctrl_init_error" in self.csr_map.addresses and self.read_csr("ddrctrl_init_error"):
                raise DramError(
                    f"{self.name}: the board's own software found its memory bad. Reset it; it "
                    f"{self._console_end()}"
                )
            if time.monotonic() >= deadline:
                raise DramError(
                    f"{self.name}: the board's own software has not made memory ready within "
                    f"{BIOS_SECONDS:g} s. Reset it; it {self._console_end()}"
                )
            time.sleep(0.1)

    def _console_end(self) -> str:
        """For a message: what the processor's software said last."""
        lines = self.console().splitlines()[-CONSOLE_LINES:]
        return "\n".join(["printed last:", *lines]) if lines else "keeps no console: look at its serial port"

    def _until_confirmed(self, write: Callable[[], None]) -> None:
        for _ in range(ATTEMPTS - 1):
            try:
                return write()
            except UnconfirmedWriteError:
                continue
        return write()


def dram_beside(csr: Path) -> Dram | None:
    """The description of the DRAM in the folder of ``csr.json``, if the build wrote one."""
    path = csr.with_name(DRAM)
    return Dram.load(path) if path.exists() else None
