# SPDX-License-Identifier: BSD-2-Clause
"""The link as a host of the system on chip."""

from __future__ import annotations

from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.backend.litedram import LiteDRAMBackend
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.soc.soc import SpattenSoc

from .endpoint import LinkEndpoint, LinkSettings


class AttachedLink(LiteXModule):
    """A link that drives the bus of a system, and has a native port of its own at LiteDRAM.

    Blocks so reach memory beside the bus, a beat at a time; :class:`.UdpLink` or :class:`.SerialLink` puts
    ``endpoint`` on a line.

    Parameters
    ----------
    soc : the system; this becomes a host of its bus.
    config : of its core.
    settings : of the link, for the system's memory unless given.
    name : of this host, where a system has more than one.

    Attributes
    ----------
    endpoint : LinkEndpoint.

    Raises
    ------
    ValueError : the link would wait for the bus longer than the bus itself does.
    """

    def __init__(
        self,
        soc: SpattenSoc,
        config: AcceleratorConfig,
        settings: LinkSettings | None = None,
        name: str = "link",
    ) -> None:
        settings = settings or LinkSettings(soc.memory_bytes)
        if settings.bus_timeout >= soc.bus.timeout:
            raise ValueError(
                f"the link waits {settings.bus_timeout} cycles for the bus; expected less than the bus's own "
                f"{soc.bus.timeout}, after which LiteX reads ones and calls it a success: give a shorter one"
            )
        geometry = Geometry(config)
        native = soc.sdram.crossbar.get_port("both", data_width=geometry.beat_bits)
        self.backend = backend = LiteDRAMBackend(geometry, native)
        self.endpoint = endpoint = LinkEndpoint(geometry, settings)
        soc.add_host(name, endpoint.bus)

        # # #

        port, behind = endpoint.port, backend.port
        self.comb += [
            port.command.connect(behind.command),
            behind.data.connect(port.data),
            port.write.connect(behind.write),
            port.writes_pending.eq(behind.writes_pending),
        ]
