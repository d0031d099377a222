# SPDX-License-Identifier: BSD-2-Clause
"""What of the bridge to PYNQ works without PYNQ; tests/pynq holds the rest."""
