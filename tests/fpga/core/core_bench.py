# SPDX-License-Identifier: BSD-2-Clause
"""The whole core on a bench: a job's memory image in, the image after the job out."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

import numpy as np

from spatten_drivers.answer import COUNTERS
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.core.core import Core
from spatten_fpga.sim import Bench
from spatten_fpga.sim.bench import MemoryStreams
from tests.model.jobs import JobImage

MEMORY = MemoryStreams("command", "data", "write")
#: Counters that depend on a clock: 0 in the model's answer.
CLOCKED = ("cycles", "busy_qk", "busy_pv", "stall_read", "stall_write", "stall_softmax", "stall_topk")


class CoreBench:
    """A core of one configuration; ``beats`` are those that the last job read and wrote."""

    def __init__(self, config: AcceleratorConfig) -> None:
        dut = Core(config)
        self.bench = Bench(
            dut,
            {"jobs": dut.jobs, "data": dut.memory.data},
            {"command": dut.memory.command, "write": dut.memory.write, "ends": dut.ends},
            inputs={"memory_bytes": dut.memory_bytes},
            memory=MEMORY,
        )

    def run(
        self, image: JobImage, *, pace: float = 1.0, latency: int = 20, seed: int = 0, limit: int = 400_000
    ) -> tuple[int, bytes, dict[str, int]]:
        """(status, memory after the job with the clocked counters 0, those counters)."""
        beat = image.config.beat_bytes
        memory = np.frombuffer(
            bytes(image.memory).ljust(-(-len(image.memory) // beat) * beat, b"\0"), np.uint8
        )
        memory = memory.copy()
        self.bench.set("memory_bytes", len(image.memory))
        run = self.bench.run(
            {"jobs": [{"address": image.descriptor_address}]},
            {"ends": 1},
            offer=pace,
            take=pace,
            memory=memory,
            latency=latency,
            seed=seed,
            limit=limit,
        )
        self.beats = len(run.cycles["command"]) + len(run.cycles["write"])
        assert run.faults == 0, f"{run.faults} accesses outside of device memory"
        status = run.tokens["ends"][0]["status"]
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
    return CoreBench(config)


def config_of(image: JobImage) -> AcceleratorConfig:
    return AcceleratorConfig(**asdict(image.config))
