# SPDX-License-Identifier: BSD-2-Clause
"""The system on chip around the core: one for all boards and for simulation."""
