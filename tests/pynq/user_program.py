# SPDX-License-Identifier: BSD-2-Clause
"""A program as a PYNQ user writes it: `python user_program.py spatten.bit job.npz`. It knows PYNQ alone.

The job is a golden vector: memory with a layer's planes and descriptor, and what a device must answer. As its
addresses count from the start of device memory, the program has to get the first buffer of the board.
"""

import hashlib
import sys
import time

import numpy as np

from pynq import MMIO, DefaultIP, Overlay, allocate


class SpattenDriver(DefaultIP):
    """Bound to the core by its type."""

    bindto = ["spatten:core:1.0"]

    def run(self, descriptor_address: int, timeout: float = 60.0) -> None:
        """Push a job and wait for its end."""
        before = int(self.register_map.JOBS_DONE)
        self.register_map.JOB_PUSH = descriptor_address
        deadline = time.monotonic() + timeout
        while int(self.register_map.JOBS_DONE) == before or not self.register_map.STATUS.IDLE:
            assert time.monotonic() < deadline, repr(self.register_map)


bitstream, path = sys.argv[1:]
overlay = Overlay(bitstream)
core = overlay.spatten
print("driver", type(core).__name__, "idle", core.register_map.STATUS.IDLE)

block = overlay.ip_dict["spatten"]
mmio = MMIO(block["phys_addr"], block["addr_range"])
print("identity", mmio.read(block["registers"]["IDENTITY"]["address_offset"]).to_bytes(4, "little").decode())

vector = np.load(path)
image = vector["memory_before"]
memory = allocate(image.shape, "u1")
assert memory.device_address == 0, "another program holds the start of device memory"
half = image.size // 2
memory[:half] = image[:half]
memory[half:] = image[half:]
memory[:half].flush()
memory[half:].sync_to_device()

descriptor = int(vector["descriptor_address"])
core.run(descriptor)
memory[:] = 0
memory.invalidate()
print("error register", core.register_map.JOB_ERROR.CODE)

# The clock's counters, words 32 to 45 of the answer, are the hardware's own; the vector has 0 there.
answer = int(image.view("<u4")[descriptor // 4 + 26])
clock = memory[answer + 4 * 32 : answer + 4 * 46].view("<u8")
print("cycles", int(clock[0]))
clock[:] = 0
print("equal", hashlib.sha256(memory.tobytes()).hexdigest() == str(vector["memory_after_sha256"]))
memory.freebuffer()
