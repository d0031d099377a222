# SPDX-License-Identifier: BSD-2-Clause
"""Byte lanes of simulated DRAM that read right only where they are delayed right, as an ECP5's do.

The registers are those of LiteDRAM's PHY for the ECP5, so LiteX's BIOS and the driver level it as they would
a board. What is behind them is no model of the strobe logic: a lane has one bitslip and a few delays at which
its bytes are what the chips sent, and elsewhere they are inverted.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from litedram.common import PhySettings
from litex.gen import LiteXModule
from litex.soc.interconnect.csr import CSR, CSRStatus, CSRStorage
from migen import Cat, If, Signal

WINDOW = 4  # delays at which a lane reads right


def window_of(lane: int, settings: PhySettings) -> tuple[int, range]:
    """Bitslip and delays at which a lane reads right; none is that of reset."""
    return (1 + lane) % settings.bitslips, range(1 + lane % 3, 1 + lane % 3 + WINDOW)


class Lanes(LiteXModule):
    """Between a controller and chips: passes everything, but bytes of lanes that are not levelled are wrong.

    Parameters
    ----------
    dfi : of the controller.
    chips : of the chips; data come ``read_latency`` cycles after their command.
    settings : of the PHY.

    Attributes
    ----------
    right : Signal, bit ``l``: lane ``l`` reads right.
    """

    def __init__(self, dfi, chips, settings: PhySettings) -> None:
        lanes = settings.databits // 8
        self._dly_sel = CSRStorage(lanes)
        self._rdly_dq_rst = CSR()
        self._rdly_dq_inc = CSR()
        self._rdly_dq_bitslip_rst = CSR()
        self._rdly_dq_bitslip = CSR()
        self._burstdet_clr = CSR()
        self._burstdet_seen = CSRStatus(lanes)
        self.right = Signal(lanes)

        # # #

        coming = reduce(or_, (phase.rddata_en for phase in dfi.phases))
        for _ in range(settings.read_latency):
            later = Signal()
            self.sync += later.eq(coming)
            coming = later
        self.comb += dfi.connect(chips, omit={"rddata", "rddata_valid"})
        for mine, theirs in zip(dfi.phases, chips.phases, strict=True):
            self.comb += [
                mine.rddata_valid.eq(coming),
                mine.rddata.eq(theirs.rddata ^ Cat(*self._wrong_bits(len(mine.rddata)))),
            ]
        for lane in range(lanes):
            self._add_lane(lane, settings, coming)

    def _wrong_bits(self, bits: int) -> list:
        """One for each bit of a phase: transfers of all lanes one behind the other."""
        return [~self.right[bit // 8 % len(self.right)] for bit in range(bits)]

    def _add_lane(self, lane: int, settings: PhySettings, coming: Signal) -> None:
        bitslip, delay = Signal(max=settings.bitslips), Signal(max=settings.delays)
        slip, delays = window_of(lane, settings)
        seen = self._burstdet_seen.status[lane]
        self.comb += self.right[lane].eq((bitslip == slip) & (delay >= delays.start) & (delay < delays.stop))
        self.sync += [
            If(
                self._dly_sel.storage[lane],
                If(self._rdly_dq_rst.re, delay.eq(0)).Elif(self._rdly_dq_inc.re, delay.eq(delay + 1)),
                If(self._rdly_dq_bitslip_rst.re, bitslip.eq(0)).Elif(
                    self._rdly_dq_bitslip.re, bitslip.eq(bitslip + 1)
                ),
            ),
            If(coming & self.right[lane], seen.eq(1)),
            If(self._burstdet_clr.re, seen.eq(0)),
        ]
