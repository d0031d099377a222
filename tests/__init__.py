# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the three packages; the folders mirror theirs."""
