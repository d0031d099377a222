# SPDX-License-Identifier: BSD-2-Clause
"""The attention core: units that are streams, one hardware idea a file. Bit exact to docs/contract.md."""
