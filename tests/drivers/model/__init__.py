# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the software model that need no oracle; ``tests/model`` holds the others."""
