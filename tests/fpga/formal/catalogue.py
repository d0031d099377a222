# SPDX-License-Identifier: BSD-2-Clause
"""All proofs by name."""

from __future__ import annotations

from . import control, packing, ports, stores, streams

CASES = {**streams.CASES, **ports.CASES, **packing.CASES, **stores.CASES, **control.CASES}
