# SPDX-License-Identifier: BSD-2-Clause
"""Unmodified PYNQ programs on any SpAtten device, and real Zynq boards through PYNQ.

:func:`attach` makes an open :class:`~spatten_drivers.Device` a ``pynq.Device``; from then on PYNQ's
``Overlay``, ``MMIO``, ``allocate``, ``DefaultIP`` with ``bindto`` and ``register_map`` work on it.
``python -m spatten_drivers.pynq_bridge program.py`` does so around a program that knows nothing of it. The
other direction, our driver on a Zynq board, is ``open_device("pynq:path.bit")`` (:mod:`..devices.zynq`).

The package pynq is imported when a device is attached, not before: it needs an environment of its own.
"""

from .attachment import attach, attached, detach

__all__ = ["attach", "attached", "detach"]
