# SPDX-License-Identifier: BSD-2-Clause
"""Recording, replay and shadow mode."""
