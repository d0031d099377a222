# SPDX-License-Identifier: BSD-2-Clause
"""The whole core on a bench: a job's memory image in, the image after the job out."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from migen import Cat, If, Signal

from spatten_drivers.answer import COUNTERS, Status
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.core.checks import STATUS_BITS
from spatten_fpga.core.core import Core
from spatten_fpga.sim import Bench
from spatten_fpga.sim.bench import MemoryStreams
from tests.model.jobs import JobImage

MEMORY = MemoryStreams("command", "data", "write")
#: Counters that depend on a clock: 0 in the model's answer.
CLOCKED = ("cycles", "busy_qk", "busy_pv", "stall_read", "stall_write", "stall_softmax", "stall_topk")


class TimedCore(Core):
    """A core whose job is ended by force.

    Attributes
    ----------
    stop_after : in, cycles after the job was taken.
    stop_in : in, or in a state of the sequencer: its place in ``states``, from 1; 0 for none.
    cause : in, the status to end with: ``ABORTED``, ``WATCHDOG`` or ``MEMORY_FAULT``.
    states : states of the sequencer while a job runs.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        sequencer = self.engine.fsm
        self.states = [state for state in sequencer.actions if state not in ("IDLE", "END")]
        self.stop_after, self.cause = Signal(32), Signal(STATUS_BITS)
        self.stop_in, self.stop = Signal(max=len(self.states) + 1), Signal()
        cycle, runs = Signal(32), Signal()
        there = [(self.stop_in == i) & sequencer.ongoing(state) for i, state in enumerate(self.states, 1)]
        self.comb += [
            self.stop.eq((runs & (cycle == self.stop_after)) | (Cat(*there) != 0)),
            self.abort.eq(self.stop & (self.cause == Status.ABORTED)),
            self.expired.eq(self.stop & (self.cause == Status.WATCHDOG)),
            self.memory.fault.eq(self.stop & (self.cause == Status.MEMORY_FAULT)),
        ]
        self.sync += [
            cycle.eq(cycle + 1),
            If(self.jobs.valid & self.jobs.ready, cycle.eq(0), runs.eq(1)),
            If(self.ends.valid & self.ends.ready, runs.eq(0)),
        ]


NEVER = (1 << 32) - 1


class CoreBench:
    """A core on a bench; ``beats`` are those that the last job read and wrote.

    Parameters
    ----------
    dut : the core.
    inputs, outputs : more of its signals, by name.
    options : of the :class:`spatten_fpga.sim.Bench`.
    """

    def __init__(
        self,
        dut: TimedCore,
        inputs: dict[str, Signal] | None = None,
        outputs: dict[str, Signal] | None = None,
        **options: Any,
    ) -> None:
        self.states = dut.states
        self.bench = Bench(
            dut,
            {"jobs": dut.jobs, "data": dut.memory.data},
            {"command": dut.memory.command, "write": dut.memory.write, "ends": dut.ends},
            inputs={
                "memory_bytes": dut.memory_bytes,
                "stop_after": dut.stop_after,
                "stop_in": dut.stop_in,
                "cause": dut.cause,
                **(inputs or {}),
            },
            outputs=outputs,
            memory=MEMORY,
            **options,
        )

    def run(
        self,
        image: JobImage,
        *,
        pace: float = 1.0,
        latency: int = 20,
        seed: int = 0,
        limit: int = 400_000,
        stop_after: int = NEVER,
        stop_in: str | None = None,
        cause: Status = Status.ABORTED,
        answers: bool = True,
        times: int = 1,
    ) -> tuple[int, bytes, dict[str, int]]:
        """(status, memory after the job with the clocked counters 0, those counters).

        ``answers`` False: memory never gives any data. ``times``: so often the job is pushed, one right
        behind the other; the status is the last one's.
        """
        self.bench.set("stop_after", stop_after)
        self.bench.set("stop_in", self.states.index(stop_in) + 1 if stop_in else 0)
        self.bench.set("cause", cause)
        beat = image.config.beat_bytes
        memory = np.frombuffer(
            bytes(image.memory).ljust(-(-len(image.memory) // beat) * beat, b"\0"), np.uint8
        )
        memory = memory.copy()
        self.bench.set("memory_bytes", len(image.memory))
        run = self.bench.run(
            {"jobs": [{"address": image.descriptor_address}] * times},
            {"ends": times},
            offer={"jobs": pace, "data": pace if answers else 0.0},
            take=pace,
            memory=memory,
            latency=latency,
            seed=seed,
            limit=limit,
        )
        self.beats = run.beats
        assert run.faults == 0, f"{run.faults} accesses outside of device memory"
        status = run.tokens["ends"][-1]["status"]
        return status, *_without_clock(image, memory, status)


def _without_clock(image: JobImage, memory: np.ndarray, status: int) -> tuple[bytes, dict[str, int]]:
    """Memory with the clocked counters of the answer set to 0, and what they were."""
    counters = {}
    if status == 1:
        start = image.regions["answer"][0]
        for counter in COUNTERS:
            if counter.name in CLOCKED:
                place = memory[start + 4 * counter.index : start + 4 * counter.index + 8]
                counters[counter.name] = int.from_bytes(place.tobytes(), "little")
                place[:] = 0
    return memory.tobytes()[: len(image.memory)], counters


@cache
def core_bench(config: AcceleratorConfig) -> CoreBench:
    """One bench a configuration and process."""
    return CoreBench(TimedCore(config))


def config_of(image: JobImage) -> AcceleratorConfig:
    return AcceleratorConfig(**asdict(image.config))
