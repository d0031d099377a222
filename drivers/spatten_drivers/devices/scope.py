# SPDX-License-Identifier: BSD-2-Clause
"""A system's logic analyzer, if it was built with one, through LiteScope's own driver over our devices."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DeviceError
from .soc import SocDevice


@dataclass(frozen=True)
class CsrProxy:
    """A register of the system as LiteX's client has it."""

    device: SocDevice
    name: str

    @property
    def addr(self) -> int:
        """Its byte address."""
        return self.device.csr_map.address(self.name)

    def readfn(self, addr: int, length: int, burst: str = "fixed") -> list[int]:
        """``length`` values of the register at ``addr``, which gives the next one each time it is read."""
        if burst != "fixed":
            raise DeviceError(f"a register is read in bursts of kind {burst!r}; expected 'fixed'")
        return [self.device.read_word(addr) for _ in range(length)]

    def read(self) -> int:
        """Its value."""
        return self.device.read_csr(self.name)

    def write(self, value: int) -> None:
        """Set it."""
        self.device.write_csr(self.name, value)


class CsrProxies:
    """All registers of a system, as ``LiteScopeAnalyzerDriver`` wants them.

    ::

        from litescope import LiteScopeAnalyzerDriver

        analyzer = LiteScopeAnalyzerDriver(CsrProxies(device), "analyzer", config_csv="analyzer.csv")
        analyzer.configure_trigger(cond={"job_valid": "1"})
        analyzer.run(offset=32)
        ...  # give the device a job
        analyzer.wait_done()
        analyzer.upload()
        analyzer.save("dump.vcd")

    A register that gives its next word each time it is read must not be read twice: use a device whose link
    repeats nothing that arrived, which is each but Etherbone and the UART bridge.

    Attributes
    ----------
    d : registers by name.
    """

    def __init__(self, device: SocDevice) -> None:
        self.d = {name: CsrProxy(device, name) for name in device.csr_map.addresses}
