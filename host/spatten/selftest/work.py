# SPDX-License-Identifier: BSD-2-Clause
"""Jobs against the software model: the fixed ones, golden vectors where they are, and a soak."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from spatten_drivers.answer import Status

from ..errors import SelftestFault
from .bench import Bench
from .image import Image, run_image
from .jobs import JobSpec, golden, image_of, random_jobs
from .result import Finding

KEPT_BYTES = 1 << 12  # that must stay as they are while jobs run, at the end of memory


def jobs(bench: Bench) -> Finding:
    """One job of each kind, refused ones among them, every byte as the model leaves it."""
    specs = golden(bench.device.config)
    for spec in specs:
        _run(bench, spec)
        bench.step(f"job: {spec.name}")
    _refuse_misaligned(bench)
    return Finding(
        f"{len(specs) + 1} jobs of the contract, every byte as the software model leaves it",
        {"jobs": [spec.name for spec in specs]},
    )


def _run(bench: Bench, spec: JobSpec) -> Status:
    """How a job of the device's configuration ended; it must end as it is meant to."""
    status = run_image(bench, image_of(spec, bench.device.config, bench.seed)).status
    if (status is Status.DONE) is bool(spec.broken):
        raise SelftestFault(f"{spec.name}: model and device both end it with {status.name}")
    return status


def _refuse_misaligned(bench: Bench) -> None:
    """A descriptor between two beats."""
    image = image_of(replace(golden(bench.device.config)[0], name="misaligned"), bench.device.config)
    image = Image("a descriptor between two beats", image.memory, image.descriptor + 2)
    if (status := run_image(bench, image).status) is not Status.BAD_ADDRESS:
        raise SelftestFault(f"{image.name}: ended with {status.name}, expected BAD_ADDRESS")


def vectors(bench: Bench) -> Finding:
    """The golden vectors of the source tree, meant for this configuration, against the model."""
    folder = bench.vectors
    if folder is None or not (folder / "index.json").is_file():
        return Finding(
            "there is no folder of golden vectors here; a source tree has tests/vectors", measured=False
        )
    names, ended = [], Counter[str]()
    for entry in json.loads((folder / "index.json").read_text("utf-8")):
        if image := _vector(bench, folder / entry["file"]):
            names.append(entry["file"])
            ended[run_image(bench, image).status.name] += 1
        bench.step(f"vector: {entry['file']}")
    if not names:
        return Finding(
            f"none of the vectors in {folder} has beats of {bench.device.config.beat_bytes} bytes",
            measured=False,
        )
    how = ", ".join(f"{count} {name}" for name, count in ended.most_common())
    return Finding(
        f"{len(names)} golden vectors, every byte as the software model leaves it ({how})",
        {"vectors": names, "ended": dict(ended)},
    )


def _vector(bench: Bench, path: Path) -> Image | None:
    """A vector with this configuration's digest; ``None`` if its beats are others.

    One whose addresses are bad for the vector's own small memory is left out: they may be good in more.
    """
    vector, config = np.load(path), bench.device.config
    beat = json.loads(str(vector["config_json"]))["beat_bytes"]
    if beat != config.beat_bytes or int(vector["status"]) == Status.BAD_ADDRESS:
        return None
    memory, descriptor = vector["memory_before"].copy(), int(vector["descriptor_address"])
    memory[descriptor + 16 :][:8] = np.array([config.digest], "<u8").view(np.uint8)
    return Image(path.name, memory, descriptor)


def soak(bench: Bench) -> Finding:
    """Random jobs for as long as asked, and words at the end of memory that must outlast them."""
    device = bench.device
    kept = np.random.default_rng([bench.seed, 3]).integers(0, 256, KEPT_BYTES, dtype=np.uint8)
    place = device.memory_bytes - KEPT_BYTES
    device.write_memory(place, kept)
    start, count, ended = time.monotonic(), 0, Counter[str]()
    for spec in random_jobs(device.config, bench.seed):
        if count and time.monotonic() - start >= bench.soak_seconds:
            break
        ended[_run(bench, spec).name] += 1
        count += 1
        bench.step(f"soak: {count:,} jobs")
    seconds = time.monotonic() - start
    if len(wrong := np.flatnonzero(device.read_memory(place, KEPT_BYTES) != kept)):
        raise SelftestFault(
            f"{len(wrong)} of {KEPT_BYTES} bytes from {place:#x} on did not keep what they held for "
            f"{seconds:.0f} s while jobs ran, the first at {place + int(wrong[0]):#x}: the memory forgets, "
            "or something writes beyond its region"
        )
    how = ", ".join(f"{n:,} {name}" for name, n in ended.most_common())
    return Finding(
        f"{count:,} random jobs in {seconds:.0f} s as the software model has them ({how}); seed {bench.seed}",
        {"jobs": count, "seconds": round(seconds, 3), "ended": dict(ended), "seed": bench.seed},
    )
