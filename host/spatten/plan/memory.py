# SPDX-License-Identifier: BSD-2-Clause
"""How long device memory takes for the beats of a job: the data lines, refreshes, rows that open, the bus."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Cycles that a refresh costs beyond the chip's own tRFC: open rows close before and open again after it.
#: ``decode 992`` of `make plan-grid`, ECPIX-5: 31 cycles of every 586, of which tRFC is 20.
REFRESH_EXTRA = 11
#: Cycles that the data lines stand still when reads go on in another row of the chips; the next row's bank
#: opens ahead in part. Slope over rows touched of ``decode 992`` and ``decode 992, 30 %``.
PAGE_CHANGE = 7.0
#: More cycles of a written beat of outputs while K and V are on chip: writes go 16 at a time, and for each
#: such group the bus turns round and back and other rows open.
#: ``prefill 16``, ``prefill 128 to 40`` and, beside the loading of a head, ``prefill 200, causal``.
WRITE_EXTRA = 2.3
#: The same while K and V are streamed: reads pause now and then, and each time the few beats that wait go.
#: ``decode 16`` of `make plan-grid`: 8 beats of outputs cost a row three or four pauses of 30 cycles.
WRITE_EXTRA_STREAM = 6.0
#: More cycles of a written beat of importance while values are fetched beside it: a beat is read, written,
#: and values go on in between, each in its own rows of the chips.
#: ``random 0`` and ``decode 512, 1 head`` of `make plan-grid`; where the regions lie makes it 1 to 6.
WRITE_EXTRA_WALK = 4.0
#: Cycles that a command waits behind others in the controller when it is busy.
#: ``decode 16``, ``decode 256`` and ``decode 512, 1 head``: from the last key to the first importance.
QUEUE = 20
#: Cycles a slot when running importance is read and written in turn: a beat of words goes out and comes back.
#: ``decode 512, 10 %`` and ``decode 512, 1 head`` of `make plan-grid`.
SLOT_CYCLES = 2.0


@dataclass(frozen=True)
class Dram:
    """Chips and their wires.

    Parameters
    ----------
    name : kind and width, for people.
    size : bytes.
    word_bytes, word_cycles : of LiteDRAM's native port: a word takes so many cycles of the data lines.
    page_bytes : of a row of the chips, all of them together.
    refresh_ns, refresh_every_ns : tRFC and tREFI.
    """

    name: str
    size: int
    word_bytes: int
    word_cycles: int
    page_bytes: int
    refresh_ns: float
    refresh_every_ns: float = 7812.5


@dataclass(frozen=True)
class Memory:
    """Device memory as the core sees it.

    Parameters
    ----------
    beat_cycles : cycles of the data lines for a beat.
    latency : cycles from a command to its data.
    queue : cycles that it waits before when the controller is busy.
    refresh_share : share of the time in which it refreshes.
    page_bytes, page_change : bytes of an open row, cycles to go on to another.
    write_extra, write_extra_stream, write_extra_walk : more cycles of a written beat of outputs, by mode of
        the job, and of importance.
    slot_cycles : cycles a slot of the walk over running importance.
    shared : reads and writes take turns; else each has lines of its own.
    """

    beat_cycles: float = 1.0
    latency: int = 20
    queue: int = 0
    refresh_share: float = 0.0
    page_bytes: int = 0
    page_change: float = 0.0
    write_extra: float = 0.0
    write_extra_stream: float = 0.0
    write_extra_walk: float = 0.0
    slot_cycles: float = 1.0
    shared: bool = False

    def cycles(
        self, reads: float, writes: float = 0.0, pages: float = 0.0, write_extra: float = 0.0
    ) -> float:
        """Cycles for so many beats read and written in so many rows of the chips, refreshes included."""
        if not self.shared:
            return max(reads, writes) * self.beat_cycles
        lines = (reads + writes) * self.beat_cycles
        return (lines + writes * write_extra + pages * self.page_change) / (1.0 - self.refresh_share)

    def pages(self, slots: int, row_bytes: int, live: int) -> float:
        """Rows of the chips that hold at least one of ``live`` rows of a plane, scattered over ``slots``."""
        if not (self.page_bytes and row_bytes and live):
            return 0.0
        there = slots * row_bytes / self.page_bytes
        a_page = min(slots, max(1.0, self.page_bytes / row_bytes))
        return float(there * (1.0 - (1.0 - live / slots) ** a_page))


#: The bench's: a beat a cycle, in order, 20 cycles latency, no refresh.
IN_ORDER = Memory()


def litedram(dram: Dram, clock: float, beat_bytes: int) -> Memory:
    """Memory behind LiteDRAM's controller at ``clock`` Hz.

    A beat that is wider than the port takes several words, one that is narrower the time of a whole one.
    """
    every = dram.refresh_every_ns * 1e-9 * clock
    refresh = math.ceil(dram.refresh_ns * 1e-9 * clock) + REFRESH_EXTRA
    return Memory(
        beat_cycles=dram.word_cycles * max(1.0, beat_bytes / dram.word_bytes),
        queue=QUEUE,
        refresh_share=refresh / every,
        page_bytes=dram.page_bytes,
        page_change=PAGE_CHANGE,
        write_extra=WRITE_EXTRA,
        write_extra_stream=WRITE_EXTRA_STREAM,
        write_extra_walk=WRITE_EXTRA_WALK,
        slot_cycles=SLOT_CYCLES,
        shared=True,
    )
