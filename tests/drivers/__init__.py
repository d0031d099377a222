# SPDX-License-Identifier: BSD-2-Clause
"""Tests of spatten_drivers, file by file. What talks to a device takes the fixture ``device``."""
