# SPDX-License-Identifier: BSD-2-Clause
"""Devices attached to PYNQ, and a file that stands for a bitstream."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spatten_drivers import Device, Emulator
from spatten_drivers.pynq_bridge import attach, attached, detach


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Off `make test-pynq` nothing here can run; its set-up imports pynq, so there nothing is skipped."""
    try:
        import pynq  # noqa: F401
    except ImportError:
        skip = pytest.mark.skip(
            reason="package pynq is not installed; make test-pynq has an environment with it"
        )
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(skip)


@pytest.fixture
def device() -> Device:
    """An emulator that poisons what is not synchronised."""
    return Emulator(memory_bytes=1 << 20, debug=True)


@pytest.fixture(autouse=True)
def nothing_stays_attached() -> Iterator[None]:
    """PYNQ's list of devices is empty before and after each test."""
    yield
    for view in attached():
        detach(view.spatten)


@pytest.fixture
def view(device: Device) -> Any:
    """The device as a `pynq.Device`, the active one."""
    return attach(device)


@pytest.fixture
def bitstream(tmp_path: Path) -> str:
    """A file for `Overlay` to find; the device behind it is configured already."""
    path = tmp_path / "spatten.bit"
    path.touch()
    return str(path)
