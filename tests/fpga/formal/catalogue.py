# SPDX-License-Identifier: BSD-2-Clause
"""All proofs by name."""

from __future__ import annotations

from . import control, packing, ports, selection, stores, streams

CASES = {**streams.CASES, **ports.CASES, **packing.CASES, **stores.CASES, **selection.CASES, **control.CASES}
