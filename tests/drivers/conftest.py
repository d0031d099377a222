# SPDX-License-Identifier: BSD-2-Clause
"""The device that the tests of the driver share."""

import gc
from collections.abc import Callable, Iterator

import pytest

from spatten_drivers import Accelerator, Device, open_device


@pytest.fixture(scope="session")
def device(device_uri: str) -> Iterator[Device]:
    """The device named on the command line, opened once, as a board would be."""
    with open_device(device_uri) as opened:
        yield opened


@pytest.fixture
def bytes_taken(device: Device) -> Callable[[], int]:
    """How much device memory has been taken since the test began and not been given back."""
    gc.collect()
    before = device.allocator.bytes_taken
    return lambda: device.allocator.bytes_taken - before


@pytest.fixture
def speaks_1_1(device: Device) -> None:
    """For tests of what contract 1.0 does not know."""
    if device.config.abi_minor < 1:
        pytest.skip(f"{device} speaks contract {device.config.abi}")


@pytest.fixture
def accelerator(device: Device) -> Accelerator:
    """A driver of the shared device."""
    return Accelerator(device)
