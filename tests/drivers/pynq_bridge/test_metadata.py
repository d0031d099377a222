# SPDX-License-Identifier: BSD-2-Clause
"""What PYNQ is told of a core, from the register table."""

from spatten_drivers import Device
from spatten_drivers.overlay import CORE_TYPE
from spatten_drivers.pynq_bridge.metadata import describe
from spatten_drivers.registers import REGISTERS


def test_every_register_and_field(device: Device) -> None:
    words = {"ro": "read-only", "rw": "read-write", "wo": "write-only"}
    block = describe(device).ip_dict["spatten"]
    assert block["type"] == CORE_TYPE
    assert list(block["registers"]) == [word.name for word in REGISTERS]
    for word in REGISTERS:
        register = block["registers"][word.name]
        assert block["phys_addr"] + register["address_offset"] == device.register_addresses[word.name]
        assert register["address_offset"] + 4 <= block["addr_range"]
        assert (register["size"], register["access"]) == (32, words[word.access])
        assert register["fields"] == {
            field.name: {
                "bit_offset": field.lsb,
                "bit_width": field.width,
                "description": field.description,
                "access": words[word.access],
            }
            for field in word.fields
        }


def test_memory(device: Device) -> None:
    memory = describe(device).mem_dict["memory"]
    assert (memory["base_address"], memory["size"], memory["used"]) == (0, device.memory_bytes, 1)
