# SPDX-License-Identifier: BSD-2-Clause
"""Registers between a master and the bus, so that no path leads through both."""

from __future__ import annotations

from litex.gen import LiteXModule
from litex.soc.interconnect import wishbone
from migen import If


class RegisterSlice(LiteXModule):
    """A master's accesses, asked and answered a cycle later than the master and the bus say.

    An answer that comes as the master gives its access up is dropped, so it never meets the next one.

    Parameters
    ----------
    master : Wishbone with addresses of words, single accesses.

    Attributes
    ----------
    bus : the same master for the bus, between whose accesses ``cyc`` is low.
    """

    def __init__(self, master: wishbone.Interface) -> None:
        self.bus = bus = wishbone.Interface.like(master)

        # # #

        self.comb += bus.stb.eq(bus.cyc)
        self.sync += [
            master.ack.eq(0),
            master.err.eq(0),
            If(
                bus.cyc,
                bus.cyc.eq(master.cyc & ~(bus.ack | bus.err)),
                master.ack.eq(master.cyc & bus.ack),
                master.err.eq(master.cyc & bus.err),
                master.dat_r.eq(bus.dat_r),
            ).Elif(
                ~(master.ack | master.err),
                bus.cyc.eq(master.cyc & master.stb),
                *(getattr(bus, name).eq(getattr(master, name)) for name in ("adr", "we", "sel", "dat_w")),
            ),
        ]
