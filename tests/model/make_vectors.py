# SPDX-License-Identifier: BSD-2-Clause
"""Write the golden vectors of tests/vectors with the oracle: `python -m tests.model.make_vectors`.

Each vector is an uncompressed .npz, so that the same oracle gives the same bytes on every Python and zlib:

* memory_before (uint8), descriptor_address, config_json: what a device is given;
* status, memory_after_sha256: what it must answer, to the last byte of memory;
* output, surviving_tokens, surviving_heads, token_importance, head_importance, counters_json: the same,
  readable, for jobs that end with DONE.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .corners import CORNERS
from .decode import decode
from .generator import random_spec
from .jobs import JobImage, build
from .oracle import run_job
from .oracle_format import Status
from .violations import OLDER, VIOLATIONS

FOLDER = Path(__file__).parents[1] / "vectors"
RANDOM_SEEDS = range(4)
IN_1_0 = ("refetch_some_rows", "stream_some_rows", "four_byte_beats")
REFUSED = (
    "descriptor_unaligned",
    "magic",
    "newer_minor",
    "newer_minor_in_1_0",
    "value_limit_in_1_0",
    "by_key_of_three_queries",
    "digest_low",
    "head_dim_96",
    "too_many_protected",
    "v_lsb_outside",
    "first_query_sees_no_key",
)


@dataclass(frozen=True)
class Vector:
    """A named job and what it tests."""

    name: str
    tests: str
    image: JobImage


def vectors() -> list[Vector]:
    """All golden jobs: the corners, a few of them of contract 1.0, some refused ones, some random ones."""
    corners = [Vector(name, tests, build(spec)) for name, (tests, spec) in CORNERS.items()]
    older = [Vector(f"{name}_in_1_0", f"contract 1.0: {CORNERS[name][0]}", _in_1_0(name)) for name in IN_1_0]
    broken = {violation.name: violation for violation in VIOLATIONS + OLDER}
    refused = [
        Vector(f"refused_{name}", f"ends with {broken[name].status.name}", broken[name].build())
        for name in REFUSED
    ]
    drawn = [
        Vector(f"random_{seed}", "a random job", build(random_spec(random.Random(seed))))
        for seed in RANDOM_SEEDS
    ]
    return corners + older + refused + drawn


def _in_1_0(name: str) -> JobImage:
    """A corner as a device of contract 1.0 is given it."""
    spec = CORNERS[name][1]
    return build(replace(spec, config=replace(spec.config, abi_minor=0)))


def arrays(vector: Vector) -> dict[str, NDArray[np.generic]]:
    """Run the oracle; the arrays of the .npz."""
    image, memory = vector.image, bytearray(vector.image.memory)
    status = run_job(memory, image.descriptor_address, image.config)
    given: dict[str, NDArray[np.generic]] = {
        "memory_before": np.frombuffer(bytes(image.memory), np.uint8),
        "descriptor_address": np.array(image.descriptor_address, np.uint32),
        "config_json": np.array(image.config.canonical_json()),
        "status": np.array(status, np.uint32),
        "memory_after_sha256": np.array(hashlib.sha256(memory).hexdigest()),
    }
    return given | (readable(memory, image) if status == Status.DONE else {})


def readable(memory: bytearray, image: JobImage) -> dict[str, NDArray[np.generic]]:
    """What a finished job wrote, decoded."""
    result = decode(memory, image.descriptor_address, image.config.beat_bytes)
    return {
        "output": np.array(result.outputs, np.int16),
        "surviving_tokens": np.array(result.tokens, np.uint16),
        "surviving_heads": np.array(result.heads, np.uint16),
        "token_importance": np.array(result.token_importance, np.uint32),
        "head_importance": np.array(result.head_importance, np.uint64),
        "counters_json": np.array(json.dumps(result.fields, sort_keys=True)),
    }


def encode(vector: Vector) -> bytes:
    """The .npz of one vector. NumPy's own forces long-file headers, which not every Python writes alike."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays(vector).items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def files() -> dict[str, bytes]:
    """Name and content of every file of tests/vectors, the index last."""
    made = {f"{vector.name}.npz": (vector.tests, encode(vector)) for vector in vectors()}
    index = [
        {"file": name, "tests": tests, "sha256": hashlib.sha256(data).hexdigest()}
        for name, (tests, data) in made.items()
    ]
    text = json.dumps(index, indent=2) + "\n"
    return {name: data for name, (_, data) in made.items()} | {"index.json": text.encode()}


def main() -> None:
    """Write all files and remove vectors that are no longer made."""
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for name, data in made.items():
        (FOLDER / name).write_bytes(data)
    for stale in {path.name for path in FOLDER.glob("*.npz")} - made.keys():
        (FOLDER / stale).unlink()


if __name__ == "__main__":
    main()
