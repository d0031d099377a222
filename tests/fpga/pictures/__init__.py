# SPDX-License-Identifier: BSD-2-Clause
"""Pictures of the core: its units from the elaborated design, a row's life from a simulation."""
