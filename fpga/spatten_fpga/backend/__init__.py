# SPDX-License-Identifier: BSD-2-Clause
"""What stands behind the core's memory port: one file for each kind of memory controller."""
