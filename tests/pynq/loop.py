# SPDX-License-Identifier: BSD-2-Clause
"""A pytest plugin: `-p tests.pynq.loop --device pynq:build/loop.bit` runs any test through PYNQ and back.

The driver under test talks to PYNQ, PYNQ to our `pynq.Device`, that to the emulator.
"""

from pathlib import Path

import pytest

from spatten_drivers import Emulator
from spatten_drivers.pynq_bridge import attach


def pytest_configure(config: pytest.Config) -> None:
    """Attach an emulator, and make the file that stands for its bitstream."""
    bitstream = Path(config.getoption("--device").partition(":")[2])
    bitstream.parent.mkdir(exist_ok=True)
    bitstream.touch()
    attach(Emulator())
