# SPDX-License-Identifier: BSD-2-Clause
"""Every golden vector through PYNQ's API: the answers of a device, to the last byte of memory."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spatten_drivers import AcceleratorConfig, Emulator, Status
from spatten_drivers.pynq_bridge import attach, detach
from tests.model.make_vectors import FOLDER

FILES = [entry["file"] for entry in json.loads((FOLDER / "index.json").read_text())]


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """An attached one of the vector's configuration."""
    record = json.loads(str(np.load(FOLDER / request.param)["config_json"]))
    del record["abi"]
    made = Emulator(AcceleratorConfig.from_dict(record), memory_bytes=1 << 16)
    attach(made)
    yield made
    detach(made)


@pytest.mark.parametrize(("emulator", "name"), [(name, name) for name in FILES], indirect=["emulator"])
def test_vector(emulator: Emulator, name: str, bitstream: str) -> None:
    from pynq import Overlay, allocate

    vector = np.load(Path(FOLDER, name))
    registers = Overlay(bitstream).spatten.register_map
    with allocate(vector["memory_before"].shape, "u1") as memory:
        assert memory.device_address == 0
        memory[:] = vector["memory_before"]
        memory.flush()
        registers.JOB_PUSH = int(vector["descriptor_address"])
        assert int(registers.JOBS_DONE) == 1
        status = Status(int(vector["status"]))
        assert registers.JOB_ERROR.CODE == (0 if status is Status.DONE else status)
        assert registers.STATUS.ERROR == (status is not Status.DONE)
        memory.invalidate()
        assert hashlib.sha256(memory.tobytes()).hexdigest() == str(vector["memory_after_sha256"])
