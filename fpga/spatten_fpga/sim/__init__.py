# SPDX-License-Identifier: BSD-2-Clause
"""Gateware compiled with Verilator and driven from Python: what unit and core tests stand on."""

from .bench import Bench, Run, SimulationError

__all__ = ["Bench", "Run", "SimulationError"]
