# SPDX-License-Identifier: BSD-2-Clause
"""A core whose inner streams are watched: the cycle and the token of every handshake."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from litex.soc.interconnect.stream import Endpoint

from spatten_drivers.answer import Status
from spatten_fpga.core.core import Core
from spatten_fpga.sim import Bench
from spatten_fpga.sim.bench import Run
from tests.model.jobs import JobImage

from .core_bench import MEMORY

MOST = 1 << 20  # handshakes of a stream that are kept


class ProbedBench:
    """A core with probes on its streams: endpoints, by name, that are valid in each cycle of a handshake."""

    def __init__(self, dut: Core, probes: Mapping[str, Endpoint]) -> None:
        self.watched = (*MEMORY, *probes)
        self.bench = Bench(
            dut,
            {"jobs": dut.jobs, "data": dut.memory.data},
            {"command": dut.memory.command, "write": dut.memory.write, "ends": dut.ends, **probes},
            inputs={"memory_bytes": dut.memory_bytes},
            memory=MEMORY,
        )

    def run(self, image: JobImage, latency: int) -> Run:
        """One job after a reset; ``latency`` of memory, in cycles."""
        self.bench.reset()
        self.bench.set("memory_bytes", len(image.memory))
        run = self.bench.run(
            {"jobs": [{"address": image.descriptor_address}]},
            {"ends": 1},
            memory=np.frombuffer(bytes(image.memory), np.uint8).copy(),
            latency=latency,
            limit=1_000_000,
            record=dict.fromkeys(self.watched, MOST),
        )
        assert run.tokens["ends"][0]["status"] == Status.DONE, run.tokens["ends"]
        return run
