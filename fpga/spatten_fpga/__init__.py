# SPDX-License-Identifier: BSD-2-Clause
"""Gateware of SpAtten in Migen and LiteX.

``core`` is the attention core, ``sim`` the bench that drives it. The LiteX system and one target per board
are not there yet. Registers come from `spatten_drivers.registers` and number formats from
`spatten_drivers.config`, which the driver and the bit-exact software model read too.
"""
