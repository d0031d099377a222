# SPDX-License-Identifier: BSD-2-Clause
"""Formal proofs of Migen modules: rules of streams and queues, saboteurs, and the way through sby."""
