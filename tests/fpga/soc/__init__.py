# SPDX-License-Identifier: BSD-2-Clause
"""Tests of spatten_fpga, file by file."""
