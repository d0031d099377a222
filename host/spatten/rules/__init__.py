# SPDX-License-Identifier: BSD-2-Clause
"""Rules for reading K and V that a device does not know, against those that it does, at equal bytes.

``python -m spatten.rules`` measures them on real text and writes docs/rules.md.
"""
