# SPDX-License-Identifier: BSD-2-Clause
"""Jobs of the grid on the simulated core, in exact cycles, kept in ``cycles.json`` beside this file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spatten_drivers.answer import BYTE_COUNTERS, decode_header
from spatten_drivers.config import AcceleratorConfig
from tests.fpga.core.core_bench import core_bench
from tests.model.jobs import build
from tests.model.test_against_model import explain, run_model

from .grid import GridJob

STORED = Path(__file__).parent / "cycles.json"
REPOSITORY = Path(__file__).parents[3]
#: What cycles depend on: core and, for a board, its memory. Comments count too: better measured twice.
SOURCES = ("fpga/spatten_fpga/core", "fpga/spatten_fpga/backend", "fpga/spatten_fpga/sim/dram.py")
LATENCY = 20  # of the memory in order, cycles


def gateware_digest() -> str:
    """Hash of the sources that the cycles come from."""
    paths = [path for source in SOURCES for path in _files(REPOSITORY / source)]
    joined = b"".join(path.name.encode() + path.read_bytes() for path in paths)
    return hashlib.sha256(joined).hexdigest()[:16]


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.py")) if place.is_dir() else [place]


def measured(job: GridJob) -> dict[str, Any]:
    """Cycles of a job from its push to its end, its rows that refetched and its bytes by kind.

    The answer must be the model's.

    Raises
    ------
    AssertionError : it is not, or the job is not one that a core accepts.
    """
    image = build(job.spec)
    core = core_bench(AcceleratorConfig(**asdict(job.spec.config)), job.board)
    status, memory, clocked = core.run(image, latency=LATENCY, limit=50_000_000)
    expected_status, expected = run_model(image, "numpy")
    assert (status, explain(image, memory, expected)) == (expected_status, "")
    assert clocked, f"{job.name} ended with status {status}"
    start = image.regions["answer"][0]
    fields, counters = decode_header(np.frombuffer(memory[start : start + 256], np.uint8))
    return {
        "spec": spec_digest(job),
        "cycles": core.cycles,
        "refetched_rows": fields["refetched_rows"],
        "bytes": {counter.name: counters[counter.name] for counter in BYTE_COUNTERS},
    }


def stored() -> dict[str, Any]:
    """What was measured last: ``gateware``, its digest, and ``jobs`` by :func:`key`."""
    found: dict[str, Any] = json.loads(STORED.read_text("utf-8"))
    return found


def still_true() -> dict[str, Any]:
    """Jobs that were measured on this gateware, by :func:`key`."""
    found = stored() if STORED.is_file() else {"gateware": "", "jobs": {}}
    return dict(found["jobs"]) if found["gateware"] == gateware_digest() else {}


def spec_digest(job: GridJob) -> str:
    """Hash of all that a job is."""
    return hashlib.sha256(repr(job.spec).encode()).hexdigest()[:16]


def key(job: GridJob) -> str:
    """The name of a job among those of all presets and memories."""
    return f"{job.preset}, {job.memory}: {job.name}"
