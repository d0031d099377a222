# SPDX-License-Identifier: BSD-2-Clause
"""``Overlay`` and ``DefaultIP``: a device seen as PYNQ users see a bitstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from .bitstream import bitstream_beside
from .devices.base import Device
from .errors import BitstreamError, DeviceError
from .mmio import MMIO
from .register_map import RegisterMap
from .registers import IDENTITY_MAGIC, REGISTERS

CORE_TYPE = "spatten:core:1.0"


class DefaultIP:
    """Driver of one IP block. A subclass that names the block's type in ``bindto`` is used in its place."""

    bindto: ClassVar[list[str]] = []
    _drivers: ClassVar[dict[str, type[DefaultIP]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        DefaultIP._drivers.update(dict.fromkeys(cls.bindto, cls))

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.device: Device = description["device"]
        self.mmio = MMIO(description["phys_addr"], description["addr_range"], self.device)

    def read(self, offset: int = 0) -> int:
        return self.mmio.read(offset)

    def write(self, offset: int, value: int) -> None:
        self.mmio.write(offset, value)

    @property
    def register_map(self) -> RegisterMap:
        return RegisterMap(self.device)


class Overlay:
    """The SpAtten core of a device, by PYNQ's names.

    Parameters
    ----------
    bitfile_name : path of a bitstream. The emulator needs none; if one is given it must exist. Its folder
        must match the manifest there, and the device must answer as that says; one without a manifest is
        taken as it is.
    device : the device to look at; required, there is no hidden current device.

    Attributes
    ----------
    ip_dict : ``phys_addr``, ``addr_range``, ``type``, ``registers``, ``device``, ``driver`` of each block.
    spatten : the core's driver, with ``register_map``, ``read`` and ``write``.
    """

    def __init__(self, bitfile_name: str | Path | None = None, *, device: Device | None = None) -> None:
        if device is None:
            raise DeviceError("Overlay() was given no device; pass device=open_device(...)")
        if bitfile_name is not None and not Path(bitfile_name).is_file():
            raise DeviceError(
                f"bitstream {str(bitfile_name)!r} does not exist; expected the path of a .bit file"
            )
        if bitfile_name is not None:
            _require_match(Path(bitfile_name), device)
        self.bitfile_name, self.device = bitfile_name, device
        self.ip_dict = {"spatten": describe_core(device)}

    def is_loaded(self) -> bool:
        """Whether the core still answers with its identity."""
        return self.device.read_register("IDENTITY") == IDENTITY_MAGIC

    def __getattr__(self, name: str) -> DefaultIP:
        blocks = self.__dict__.get("ip_dict", {})
        if name not in blocks:
            raise AttributeError(f"overlay has no IP {name!r}; it has {sorted(blocks)}")
        block = blocks[name]
        driver: DefaultIP = block["driver"](block)
        setattr(self, name, driver)
        return driver


def _require_match(path: Path, device: Device) -> None:
    """Raises :class:`BitstreamError` or :class:`DeviceMismatchError`, which name what differs."""
    bitstream = bitstream_beside(path)
    if bitstream is None:
        return
    if path.name not in bitstream.files:
        raise BitstreamError(
            f"{path}: the manifest beside it does not name it; it names {', '.join(bitstream.files)}"
        )
    bitstream.require_device(device)


def describe_core(device: Device) -> dict[str, Any]:
    """Address, type, registers with their fields and driver of a core, as ``ip_dict`` holds them."""
    addresses = device.register_addresses
    base = min(addresses.values())
    registers = {
        word.name: {
            "address_offset": addresses[word.name] - base,
            "size": 32,
            "access": word.access,
            "description": word.description,
            "fields": {
                f.name: {"bit_offset": f.lsb, "bit_width": f.width, "description": f.description}
                for f in word.fields
            },
        }
        for word in REGISTERS
    }
    return {
        "phys_addr": base,
        "addr_range": max(addresses.values()) - base + 4,
        "type": CORE_TYPE,
        "registers": registers,
        "device": device,
        "driver": DefaultIP._drivers.get(CORE_TYPE, DefaultIP),
    }
