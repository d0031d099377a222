# SPDX-License-Identifier: BSD-2-Clause
"""``python -m tests.fpga.targets.hollow BOARD ...``: a target whose core computes nothing.

Pins, clocks, memory, links, maps and files are those of the target; only the core, nine tenths of the time
that LiteX takes, has its ports and nothing behind them. A process of its own, as LiteDRAM wants one a system.
"""

from __future__ import annotations

import sys

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import Signal

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core import accelerator
from spatten_fpga.core.checks import STATUS_BITS
from spatten_fpga.core.descriptor import job_layout
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import MemoryPort
from spatten_fpga.targets.__main__ import main


class HollowCore(LiteXModule):
    """The core's ports."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.jobs = stream.Endpoint(job_layout())
        self.memory = MemoryPort(Geometry(config))
        self.memory_bytes = Signal(32)
        self.abort, self.expired = Signal(), Signal()
        self.ends = stream.Endpoint([("job_id", 32), ("status", STATUS_BITS)])
        # Something reads and writes memory, so that its ports are there.
        self.comb += [
            self.memory.command.valid.eq(self.jobs.valid),
            self.memory.write.valid.eq(self.abort),
        ]


if __name__ == "__main__":
    accelerator.Core = HollowCore
    sys.exit(main(sys.argv[1:]))
