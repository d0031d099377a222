# SPDX-License-Identifier: BSD-2-Clause
"""Registers and fields as attributes."""

import pytest

from spatten_drivers import Device, RegisterMap
from spatten_drivers.errors import OperandError
from spatten_drivers.registers import IDENTITY_MAGIC, REGISTERS


@pytest.fixture
def registers(device: Device) -> RegisterMap:
    return RegisterMap(device)


def test_read(device: Device, registers: RegisterMap) -> None:
    assert int(registers.IDENTITY) == IDENTITY_MAGIC
    assert hex(registers.IDENTITY) == hex(IDENTITY_MAGIC)
    assert device.config.beat_bytes == registers.CAPABILITY_2.BEAT_BYTES
    assert registers.STATUS.DRAM_READY == 1


def test_write_a_register(registers: RegisterMap) -> None:
    before = int(registers.WATCHDOG)
    registers.WATCHDOG = 1234567
    assert registers.WATCHDOG.WATCHDOG == 1234567
    registers.WATCHDOG.WATCHDOG = before
    assert int(registers.WATCHDOG) == before


def test_writing_a_field_leaves_the_others(registers: RegisterMap) -> None:
    registers.CONTROL.IRQ_ENABLE = 1
    registers.CONTROL.CLEAR_ERROR = 1
    assert registers.CONTROL.IRQ_ENABLE == 1
    assert registers.CONTROL.CLEAR_ERROR == 0
    registers.CONTROL.IRQ_ENABLE = 0
    assert int(registers.CONTROL) == 0


def test_read_only(registers: RegisterMap) -> None:
    message = "^register MEMORY_BYTES is read-only: Size of device memory, in bytes.$"
    with pytest.raises(OperandError, match=message):
        registers.MEMORY_BYTES = 4
    with pytest.raises(OperandError, match=message):
        registers.MEMORY_BYTES.MEMORY_BYTES = 4


def test_too_wide(registers: RegisterMap) -> None:
    with pytest.raises(OperandError, match=r"^CONTROL.ABORT = 2; expected 0 to 1 \(1 bits\)$"):
        registers.CONTROL.ABORT = 2
    with pytest.raises(OperandError, match=r"^WATCHDOG = -1; expected an unsigned 32-bit word$"):
        registers.WATCHDOG = -1


def test_unknown_names(registers: RegisterMap) -> None:
    names = [word.name for word in REGISTERS]
    with pytest.raises(AttributeError) as error:
        _ = registers.CONTRL
    assert str(error.value) == f"no register 'CONTRL'; the registers are {names}"
    with pytest.raises(AttributeError, match=r"^no register 'CONTRL'"):
        registers.CONTRL = 1
    message = r"^register CONTROL has no field 'STOP'; it has \['ABORT', 'CLEAR_ERROR', 'IRQ_ENABLE'\]$"
    with pytest.raises(AttributeError, match=message):
        _ = registers.CONTROL.STOP
    with pytest.raises(AttributeError, match=message):
        registers.CONTROL.STOP = 1


def test_names_can_be_completed(registers: RegisterMap) -> None:
    assert dir(registers) == sorted(word.name for word in REGISTERS)
    assert dir(registers.CONTROL) == ["ABORT", "CLEAR_ERROR", "IRQ_ENABLE"]


def test_repr(registers: RegisterMap) -> None:
    assert repr(registers.ABI_VERSION) == "Register(ABI_MINOR=0x1, ABI_MAJOR=0x1)"
    lines = repr(registers).splitlines()
    assert lines[:2] == ["RegisterMap {", "  IDENTITY = Register(IDENTITY=0x54415053),"]
    assert lines[-1] == "}"
    assert "JOB_PUSH" not in repr(registers)
