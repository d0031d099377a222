# SPDX-License-Identifier: BSD-2-Clause
"""The golden vectors are what the oracle makes today, and the software model passes them."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from spatten_drivers.config import AcceleratorConfig
from spatten_drivers.model import execute_job

from .make_vectors import FOLDER, files

INDEX = json.loads((FOLDER / "index.json").read_text())
MOST_BYTES = 768 * 1024


def test_files_are_reproducible() -> None:
    """Making the vectors again gives byte-identical files, none more and none less."""
    found = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in (".npz", ".json")}
    made = files()
    assert found.keys() == made.keys()
    assert [name for name in made if made[name] != found[name]] == []
    assert files() == made


def test_vectors_stay_small() -> None:
    """They live in the repository."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_BYTES


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_model_passes(entry: dict[str, str]) -> None:
    """Status and whole memory as the vector says; written for a reader who has only the .npz."""
    path = FOLDER / entry["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    vector = np.load(path)
    config = json.loads(str(vector["config_json"]))
    memory = vector["memory_before"].copy()
    device = AcceleratorConfig.from_dict(config, config.pop("abi"))
    status = execute_job(memory, int(vector["descriptor_address"]), device, kernel="numpy")
    assert int(status) == int(vector["status"])
    assert hashlib.sha256(memory.tobytes()).hexdigest() == str(vector["memory_after_sha256"])
