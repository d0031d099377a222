# SPDX-License-Identifier: BSD-2-Clause
"""The registers behind AXI4-Lite, under random gaps on every channel. test_chip.py drives Wishbone."""

from __future__ import annotations

import random

from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_drivers.fields import pack
from spatten_drivers.registers import REGISTERS, identity_values
from spatten_fpga.core.registers import ControlRegisters
from spatten_fpga.gen.bus import RegisterBus
from spatten_fpga.sim import Bench

MEMORY = 1 << 20
CONTROL, JOB_PUSH, WATCHDOG = (
    4 * next(word.index for word in REGISTERS if word.name == name)
    for name in ("CONTROL", "JOB_PUSH", "WATCHDOG")
)


class Dut(LiteXModule):
    """Registers without a core."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.registers = ControlRegisters(config, MEMORY)
        self.slave = RegisterBus("axi-lite", self.registers.get_csrs())


def bench(config: AcceleratorConfig) -> Bench:
    dut = Dut(config)
    bus, jobs = dut.slave.bus, dut.registers.jobs
    return Bench(
        dut, {"aw": bus.aw, "w": bus.w, "ar": bus.ar}, {"b": bus.b, "r": bus.r, "jobs": jobs}, randomise=False
    )


def test_axi_lite() -> None:
    config = AcceleratorConfig()
    bus = bench(config)
    words = pack(REGISTERS, identity_values(config, MEMORY), len(REGISTERS)).tolist()
    readable = [w.index for w in REGISTERS if w.name not in ("STATUS", "JOB_PUSH", "WATCHDOG", "CONTROL")]
    draws = random.Random(3)
    for seed in range(40):
        watchdog = draws.getrandbits(32)
        reads = [draws.choice(readable) for _ in range(9)]
        writes = [(WATCHDOG, watchdog, 15), (CONTROL, 4, 1), (WATCHDOG, 7, 0), (0, 1, 15), (0x840, 5, 15)]
        draws.shuffle(writes)
        run = bus.run(
            {
                "aw": [{"addr": address} for address, _, _ in writes],
                "w": [{"data": data, "strb": strobe} for _, data, strobe in writes],
                "ar": [{"addr": 4 * index} for index in reads],
            },
            {"b": len(writes), "r": len(reads)},
            offer=draws.uniform(0.2, 1.0),
            take={"b": draws.uniform(0.2, 1.0), "r": draws.uniform(0.2, 1.0)},
            seed=seed,
        )
        assert run.tokens["r"] == [{"first": 0, "last": 0, "resp": 0, "data": words[i]} for i in reads]
        assert [token["resp"] for token in run.tokens["b"]] == [0] * len(writes)
        run = bus.run({"ar": [{"addr": WATCHDOG}, {"addr": CONTROL}, {"addr": 0x840}]}, {"r": 3}, seed=seed)
        assert [token["data"] for token in run.tokens["r"]] == [watchdog, 4, 0]


def test_a_job_is_pushed_once_for_each_write() -> None:
    bus = bench(AcceleratorConfig(job_queue_depth=4))
    addresses = [64, 128, 64]
    bus.run(
        {"aw": [{"addr": JOB_PUSH}] * 3, "w": [{"data": address, "strb": 15} for address in addresses]},
        {"b": 3},
        take={"jobs": 0.0},
        offer=0.5,
    )
    run = bus.run({}, {"jobs": 1})
    assert [token["address"] for token in run.tokens["jobs"]] == addresses[:1]
    run = bus.run({"ar": [{"addr": 40}]}, {"r": 1}, take={"jobs": 0.0})
    assert run.tokens["r"][0]["data"] == 2 << 8  # STATUS: two wait behind the one that runs
