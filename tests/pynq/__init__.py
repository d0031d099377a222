# SPDX-License-Identifier: BSD-2-Clause
"""PYNQ's own API on our devices. `make test-pynq` runs them where pynq is installed; elsewhere they skip."""
