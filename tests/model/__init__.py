# SPDX-License-Identifier: BSD-2-Clause
"""A second implementation of the layer job, in plain integers, written from docs/contract.md alone.

It shares no line with the packages under test: own field tables, own memory access, own arithmetic.
"""
