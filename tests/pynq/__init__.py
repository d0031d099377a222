# SPDX-License-Identifier: BSD-2-Clause
"""PYNQ's own API on our devices. `make test-pynq` runs them, `make test` does not."""
