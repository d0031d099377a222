# SPDX-License-Identifier: BSD-2-Clause
"""A standalone Verilog core with its register map and manifest: ``python3 -m spatten_fpga.gen --help``."""

from .files import generate, write_files
from .options import Options, load_options, load_preset, preset_path

__all__ = ["Options", "generate", "load_options", "load_preset", "preset_path", "write_files"]
