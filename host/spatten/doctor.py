# SPDX-License-Identifier: BSD-2-Clause
"""Checks of the environment: each says how it stands and, if it is not well, what to do."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from spatten_drivers import (
    Accelerator,
    Emulator,
    LayerRequest,
    Quantization,
    Sequence,
    Shape,
    known_devices,
    open_device,
)
from spatten_drivers.answer import JobAnswer
from spatten_drivers.errors import SpattenError
from spatten_drivers.model.kernels import available_kernels

from .fetch import cache_dir

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Check:
    """One finding: ``state`` is ok, warn or fail; ``advice`` is what to do, empty where all is well."""

    name: str
    state: str
    finding: str
    advice: str = ""


def examine(device: str = "auto") -> list[Check]:
    """Every check, in the order in which things are needed."""
    checks = [
        check_python(),
        *check_packages(),
        check_threads(),
        check_kernels(),
        check_device(device),
        check_simulator(),
        check_cache(),
    ]
    return [*checks, *check_models()]


def check_python() -> Check:
    """The interpreter's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("python", OK, found)


def check_packages() -> list[Check]:
    """Packages beside the versions that the distribution pins exactly; others only have to be there."""
    needed = {
        "numpy": None,
        "torch": None,
        "transformers": None,
        "tokenizers": None,
        "safetensors": None,
        "jinja2": None,
    }
    return [_package(name, pin) for name, pin in (needed | _pins()).items() if name in needed]


def _pins() -> dict[str, str]:
    try:
        lines = metadata.requires("spatten") or []
    except metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([A-Za-z0-9-]+)==([^;\s]+)", line) for line in lines)
    return {match[1].lower(): match[2] for match in found if match}


def _package(name: str, pin: str | None) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, FAIL, "not installed", "pip install 'spatten[hf]'")
    if pin is not None and version.split("+")[0] != pin:
        return Check(name, WARN, f"{version}; checked at {pin}", f"pip install {name}=={pin}")
    return Check(name, OK, version)


def check_threads() -> Check:
    """One BLAS thread: more make torch's and numpy's pools wait for each other."""
    wide = {n: v for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if (v := os.environ.get(n)) != "1"}
    if wide:
        return Check("threads", WARN, str(wide), "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1")
    return Check("threads", OK, f"1 per BLAS, {os.cpu_count()} cores")


def check_kernels() -> Check:
    """All kernels of the software model give the same bits on a small pruned job."""
    names = available_kernels()
    answers = [_small_job(name) for name in names]
    for name, answer in zip(names[1:], answers[1:], strict=True):
        if different := answers[0].differences(answer):
            return Check(
                "kernels",
                FAIL,
                f"{name} differs from {names[0]} in {different}",
                "reinstall numba; report it",
            )
    if len(names) == 1:
        return Check("kernels", WARN, "numpy only: right, but slower", "pip install 'spatten[numba]'")
    return Check("kernels", OK, f"{' and '.join(names)} give the same bits")


def _small_job(kernel: str) -> JobAnswer:
    """Answer of a job that prunes tokens, heads and values and refetches LSBs."""
    heads, tokens, dim = 4, 48, 64
    q, k, v = np.random.default_rng(0).standard_normal((3, heads, tokens, dim)).astype(np.float32)
    with Emulator(kernel=kernel, memory_bytes=8 << 20) as device:
        sequence = Sequence(
            device,
            Shape(layers=1, heads=heads, head_dim=dim, slots=tokens),
            Quantization.progressive(6, 4, 0.1),
        )
        everyone, slots = np.arange(heads), np.arange(tokens)
        sequence.write(0, everyone, slots, k, v)
        request = LayerRequest(
            0, everyone, q, slots, slots, tokens, dim**-0.5, keep_tokens=20, keep_heads=3, keep_values=16
        )
        return Accelerator(device).attend(sequence, request).answer


def check_device(uri: str) -> Check:
    """The device that a run would take."""
    said: list[str] = []
    try:
        with open_device(uri, announce=said.append) as device:
            return Check("device", OK, said[0] if said else str(device))
    except SpattenError as error:
        return Check("device", FAIL, str(error), "see: spatten devices")


def check_simulator() -> Check:
    """Whether the device ``verilator`` can be built, which it is on first use; nothing else needs it."""
    state = dict(known_devices())["verilator"]
    if state == "available":
        return Check("simulator", OK, "verilator can be opened")
    finding, _, advice = state.partition(": ")
    return Check("simulator", WARN, f"no device verilator: {finding}", advice)


def check_cache() -> Check:
    """The folder for fetched data can be written."""
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Check("cache", OK, str(folder))
    except OSError as error:
        return Check(
            "cache", FAIL, f"{folder}: {error.strerror}", "set SPATTEN_CACHE to a folder that you can write"
        )


def check_models() -> list[Check]:
    """The two models with weights that come along."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return [Check("models", FAIL, "torch or transformers is missing", "pip install 'spatten[hf]'")]
    from .catalog import FOLDERS

    return [_model(name, folder) for name, folder in FOLDERS.items()]


def _model(name: str, folder: Callable[[], str]) -> Check:
    try:
        return Check(name, OK, folder())
    except SpattenError as error:
        return Check(name, WARN, "not here", str(error).partition("; ")[2])
