# SPDX-License-Identifier: BSD-2-Clause
"""Gateware of SpAtten in Migen and LiteX.

This package is empty so far. It will hold the attention pipeline, the top-k engine, the DRAM data movers, one
target per board, and the simulation of all of it. Its registers come from `spatten_drivers.registers` and its
number formats from `spatten_drivers.config`, which the driver and the bit-exact software model read too.
"""
