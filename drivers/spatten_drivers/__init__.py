# SPDX-License-Identifier: BSD-2-Clause
"""The contract, the software model and the devices of SpAtten. Needs NumPy alone.

Layers, from the bytes up: tables of fields (:mod:`registers`, :mod:`job`, :mod:`answer`), number formats
(:mod:`planes`, :mod:`quantize`, :mod:`exp2`), the software model (:mod:`model`), devices (:mod:`devices`),
PYNQ's names (:mod:`overlay`, :mod:`mmio`, :mod:`buffer`), and the driver that turns floats into jobs
(:mod:`sequence`, :mod:`accelerator`). ``docs/contract.md`` says what every bit means.
"""

from .accelerator import Accelerator, LayerRequest, LayerResult
from .answer import JobAnswer, Status
from .buffer import Buffer, allocate
from .config import DEFAULT_PRESET, PRESETS, AcceleratorConfig
from .devices import Device, Emulator, known_devices, open_device
from .formats import Quantization
from .job import KeyPolicy, LayerJob, ValuePolicy
from .kv_planes import Shape
from .mmio import MMIO
from .overlay import DefaultIP, Overlay
from .register_map import RegisterMap
from .sequence import Sequence

__all__ = [
    "DEFAULT_PRESET",
    "MMIO",
    "PRESETS",
    "Accelerator",
    "AcceleratorConfig",
    "Buffer",
    "DefaultIP",
    "Device",
    "Emulator",
    "JobAnswer",
    "KeyPolicy",
    "LayerJob",
    "LayerRequest",
    "LayerResult",
    "Overlay",
    "Quantization",
    "RegisterMap",
    "Sequence",
    "Shape",
    "Status",
    "ValuePolicy",
    "allocate",
    "known_devices",
    "open_device",
]
