# SPDX-License-Identifier: BSD-2-Clause
"""Registers behind a bus that other people's interconnect speaks."""

from __future__ import annotations

from litex.gen import LiteXModule
from litex.soc.interconnect import axi, csr_bus, wishbone

from .ports import Port, stream_ports

BUSES = ("wishbone", "axi-lite")
DATA_BITS = 32
ADDRESS_BITS = 12  # of a byte address: the 4 KiB that AXI gives a slave at least


class RegisterBus(LiteXModule):
    """CSRs from address 0 of a slave on; the rest of its 4 KiB reads 0. A write is of the whole word.

    Parameters
    ----------
    kind : one of ``BUSES``: Wishbone (classic, word addresses) or AXI4-Lite.
    csrs : registers, one a word of 32 bits, in the order of their addresses.

    Attributes
    ----------
    ports : list of Port.
    """

    def __init__(self, kind: str, csrs: list) -> None:
        self.csr = csr = csr_bus.Interface(DATA_BITS, ADDRESS_BITS - 2)
        self.bank = csr_bus.CSRBank(csrs, bus=csr)
        self.ports = {"wishbone": self._wishbone, "axi-lite": self._axi_lite}[kind]()

    def _wishbone(self) -> list[Port]:
        self.bus = bus = wishbone.Interface(DATA_BITS, address_width=ADDRESS_BITS)
        self.bridge = wishbone.Wishbone2CSR(bus, self.csr)
        described = {
            "cyc": ("input", "Wishbone: a cycle is going on."),
            "stb": ("input", "Wishbone: a transfer is asked for."),
            "we": ("input", "Wishbone: it is a write."),
            "adr": ("input", "Wishbone: address, in words of 32 bits."),
            "sel": ("input", "Wishbone: bytes of the word; a write with any of them is of all."),
            "dat_w": ("input", "Wishbone: data to write."),
            "dat_r": ("output", "Wishbone: data that was read, with ack."),
            "ack": ("output", "Wishbone: the transfer is done."),
        }
        return [Port(f"wb_{name}", getattr(bus, name), *said) for name, said in described.items()]

    def _axi_lite(self) -> list[Port]:
        self.bus = bus = axi.AXILiteInterface(DATA_BITS, address_width=ADDRESS_BITS)
        self.bridge = axi.AXILite2CSR(bus, self.csr)
        address = {"addr": "Byte address.", "prot": "Not used."}
        channels = {
            "aw": (True, {"valid": "AXI4-Lite: write address.", **address}),
            "w": (True, {"valid": "AXI4-Lite: write data.", "data": "Data.", "strb": "Any byte writes all."}),
            "b": (False, {"valid": "AXI4-Lite: write response.", "resp": "0: OKAY."}),
            "ar": (True, {"valid": "AXI4-Lite: read address.", **address}),
            "r": (False, {"valid": "AXI4-Lite: read data.", "data": "Data.", "resp": "0: OKAY."}),
        }
        return [
            port
            for name, (into, what) in channels.items()
            for port in stream_ports(f"s_axi_{name}", getattr(bus, name), into=into, what=what)
        ]
