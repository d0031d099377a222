# SPDX-License-Identifier: BSD-2-Clause
"""What every item of a self-test is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import Device


@dataclass
class Bench:
    """The device under test and what was asked for.

    Attributes
    ----------
    device : open; its memory holds nothing that is needed.
    window : bytes of memory whose every cell is tested; ``None`` takes what the device is quick enough for.
    soak_seconds : how long random jobs run.
    seed : of everything that is drawn.
    kernel : of the software model.
    vectors : folder with golden vectors, if there is one.
    step : told what is being done, between any two steps.
    """

    device: Device
    window: int | None = None
    soak_seconds: float = 10.0
    seed: int = 0
    kernel: str = "numpy"
    vectors: Path | None = None
    step: Callable[[str], None] = lambda what: None

    @cached_property
    def scratch(self) -> NDArray[np.uint8]:
        """Memory as large as the device's, for the model; the host's is taken only as it is touched."""
        return np.zeros(self.device.memory_bytes, np.uint8)
