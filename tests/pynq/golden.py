# SPDX-License-Identifier: BSD-2-Clause
"""Golden vectors and the emulators they are for."""

from __future__ import annotations

import json

import numpy as np

from spatten_drivers import AcceleratorConfig, Emulator
from tests.model.make_vectors import FOLDER

FILES = [entry["file"] for entry in json.loads((FOLDER / "index.json").read_text())]


def emulator_for(name: str, **options: bool) -> Emulator:
    """An emulator of a vector's configuration. Its memory ends with the image, filled up to 64 bytes."""
    vector = np.load(FOLDER / name)
    record = json.loads(str(vector["config_json"]))
    size = -(-vector["memory_before"].size // 64) * 64
    return Emulator(AcceleratorConfig.from_dict(record, record.pop("abi")), memory_bytes=size, **options)
