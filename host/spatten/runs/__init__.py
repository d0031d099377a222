# SPDX-License-Identifier: BSD-2-Clause
"""Texts through a model on a device: :mod:`texts` go in, :mod:`tasks` run, :mod:`words` are shown."""
