# SPDX-License-Identifier: BSD-2-Clause
"""The device that a module's tests share."""

from collections.abc import Iterator

import pytest

from spatten_drivers import Device, open_device


@pytest.fixture(scope="module")
def device(device_uri: str) -> Iterator[Device]:
    """Opened once a module; its memory is given back between tests by whoever took it."""
    with open_device(device_uri) as opened:
        yield opened
