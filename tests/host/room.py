# SPDX-License-Identifier: BSD-2-Clause
"""Models that not every device of `--device` can hold."""

from __future__ import annotations

import pytest

from spatten_drivers import Device


def require_room(device: Device, *, heads: int, tokens: int) -> None:
    """Skip a test whose model is larger than the device, and say by what; the other tests' models fit all."""
    config = device.config
    if heads > config.max_heads or tokens > config.max_sequence:
        pytest.skip(
            f"the model has {heads} heads and the text {tokens} tokens; {device} has max_heads "
            f"{config.max_heads} and max_sequence {config.max_sequence}"
        )
