# SPDX-License-Identifier: BSD-2-Clause
"""PYNQ's own API on our devices. `make test-pynq` runs them in an environment with pynq; elsewhere they skip."""
