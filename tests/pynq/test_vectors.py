# SPDX-License-Identifier: BSD-2-Clause
"""Every golden vector through PYNQ's API: the answers of a device, to the last byte of memory."""

import hashlib

import numpy as np
import pytest

from spatten_drivers import Status
from spatten_drivers.pynq_bridge import attach
from tests.model.make_vectors import FOLDER

from .golden import FILES, emulator_for


@pytest.mark.parametrize("name", FILES)
def test_vector(name: str, bitstream: str) -> None:
    from pynq import Overlay, allocate

    attach(emulator_for(name))
    vector = np.load(FOLDER / name)
    registers = Overlay(bitstream).spatten.register_map
    with allocate(vector["memory_before"].shape, "u1") as memory:
        assert memory.device_address == 0
        memory[:] = vector["memory_before"]
        memory.flush()
        registers.JOB_PUSH = int(vector["descriptor_address"])
        assert int(registers.JOBS_DONE) == 1
        status = Status(int(vector["status"]))
        assert (0 if status is Status.DONE else status) == registers.JOB_ERROR.CODE
        assert (status is not Status.DONE) == registers.STATUS.ERROR
        memory.invalidate()
        assert hashlib.sha256(memory.tobytes()).hexdigest() == str(vector["memory_after_sha256"])
