# SPDX-License-Identifier: BSD-2-Clause
"""``register_map``: registers and fields as attributes, with the names and behaviour of PYNQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import OperandError
from .fields import Field
from .registers import REGISTER_BY_NAME

if TYPE_CHECKING:
    from .devices.base import Device


class Register:
    """One register: ``int(register)``, and its fields as attributes."""

    _device: Device
    _name: str

    def __init__(self, device: Device, name: str) -> None:
        object.__setattr__(self, "_device", device)
        object.__setattr__(self, "_name", name)

    def __int__(self) -> int:
        return self._device.read_register(self._name)

    __index__ = __int__

    def __getattr__(self, name: str) -> int:
        return self._device.read_fields(self._name)[_field(self._name, name).name]

    def __setattr__(self, name: str, value: int) -> None:
        field = _field(self._name, name)
        _require_writable(self._name)
        if not 0 <= value <= field.mask:
            raise OperandError(
                f"{self._name}.{name} = {value}; expected 0 to {field.mask} ({field.width} bits)"
            )
        others = int(self) & ~(field.mask << field.lsb) if field.width < 32 else 0
        self._device.write_register(self._name, others | value << field.lsb)

    def __dir__(self) -> list[str]:
        return [field.name for field in REGISTER_BY_NAME[self._name].fields]

    def __repr__(self) -> str:
        fields = self._device.read_fields(self._name)
        return "Register(" + ", ".join(f"{name}={value:#x}" for name, value in fields.items()) + ")"


class RegisterMap:
    """All registers of a core: ``register_map.CONTROL.ABORT = 1``, ``int(register_map.JOBS_DONE)``."""

    _device: Device

    def __init__(self, device: Device) -> None:
        object.__setattr__(self, "_device", device)

    def __getattr__(self, name: str) -> Register:
        if name not in REGISTER_BY_NAME:
            raise AttributeError(f"no register {name!r}; the registers are {list(REGISTER_BY_NAME)}")
        return Register(self._device, name)

    def __setattr__(self, name: str, value: int) -> None:
        getattr(self, name)  # an unknown name raises
        _require_writable(name)
        if not 0 <= value < 1 << 32:
            raise OperandError(f"{name} = {value}; expected an unsigned 32-bit word")
        self._device.write_register(name, int(value))

    def __dir__(self) -> list[str]:
        return list(REGISTER_BY_NAME)

    def __repr__(self) -> str:
        readable = (name for name, word in REGISTER_BY_NAME.items() if word.access != "wo")
        lines = (f"  {name} = {getattr(self, name)!r}" for name in readable)
        return "RegisterMap {\n" + ",\n".join(lines) + "\n}"


def _field(register: str, name: str) -> Field:
    fields = {field.name: field for field in REGISTER_BY_NAME[register].fields}
    if name not in fields:
        raise AttributeError(f"register {register} has no field {name!r}; it has {sorted(fields)}")
    return fields[name]


def _require_writable(name: str) -> None:
    if REGISTER_BY_NAME[name].access == "ro":
        raise OperandError(f"register {name} is read-only: {REGISTER_BY_NAME[name].description}")
