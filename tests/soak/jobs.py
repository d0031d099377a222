# SPDX-License-Identifier: BSD-2-Clause
"""One job of a soak: drawn from a seed and a number, run on the device, compared byte for byte."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from spatten_drivers.answer import CYCLE_COUNTERS, Status
from spatten_drivers.devices import Device
from spatten_drivers.model import execute_job
from tests.model.generator import random_spec
from tests.model.jobs import JobImage, build
from tests.model.oracle_config import OracleConfig
from tests.model.test_against_model import explain

BROKEN_SHARE, ABORTED_SHARE = 1 / 16, 1 / 64
#: Fields of a descriptor, and values that no device takes.
BREAKS = (
    ("magic", 1),
    ("abi_major", 2),
    ("config_digest_lo", 1),
    ("head_dim", 33),
    ("keep_tokens", 0),
    ("answer_address", 0xFFFF_FF00),
    ("output_address", 0xFFFF_FF00),
)


@dataclass(frozen=True)
class Drawn:
    """A job, and what is done to it: ``broken`` names a field that no device takes, ``aborted`` stops it."""

    image: JobImage
    broken: str = ""
    aborted: bool = False

    @property
    def kind(self) -> str:
        return "aborted" if self.aborted else "broken" if self.broken else "whole"


def drawn(config: OracleConfig, seed: int, number: int) -> Drawn:
    """Job ``number`` of a seed; the same every time."""
    rng = random.Random(f"{seed} {number}")
    image, chance = build(random_spec(rng, config=config)), rng.random()
    if chance < BROKEN_SHARE:
        field, value = rng.choice(BREAKS)
        image.poke(field, value)
        return Drawn(image, broken=field)
    return Drawn(image, aborted=chance < BROKEN_SHARE + ABORTED_SHARE)


def config_of(device: Device) -> OracleConfig:
    """The device's configuration as the generator of the tests takes it."""
    return OracleConfig(**asdict(device.config))


def difference(device: Device, job: Drawn, kernel: str) -> str:
    """Run the job on the device and on the model; how they differ, empty if they do not.

    All of the job's memory is compared, guard bytes between its regions too, but for the counters that need a
    clock. What an aborted job leaves is not fixed; that the next job is clean is seen by the next job.
    """
    memory = np.frombuffer(bytes(job.image.memory), np.uint8)
    device.write_memory(0, memory)
    number = device.push_job(job.image.descriptor_address, device.timeout)
    if job.aborted:
        device.abort()
    device.wait_for_jobs(number, device.timeout)
    status = Status(device.read_register("JOB_ERROR"))
    device.clear_error()
    if job.aborted:
        return "" if status in (Status.ABORTED, Status(0)) else f"aborted, it ended with {status!r}"
    expected = memory.copy()
    right = execute_job(expected, job.image.descriptor_address, device.config, kernel=kernel)
    if status != (Status(0) if right is Status.DONE else right):
        return f"JOB_ERROR is {status!r}; the model ends with {right!r}"
    answer = job.image.regions["answer"][0]
    found = _without_clock(device.read_memory(0, memory.size), answer)
    return explain(job.image, found.tobytes(), _without_clock(expected, answer).tobytes())


def _without_clock(memory: NDArray[np.uint8], answer: int) -> NDArray[np.uint8]:
    memory = memory.copy()
    for counter in CYCLE_COUNTERS:
        memory[answer + 4 * counter.index :][:8] = 0
    return memory
