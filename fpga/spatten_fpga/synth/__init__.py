# SPDX-License-Identifier: BSD-2-Clause
"""The core alone on an FPGA: synthesis with yosys, place and route with nextpnr, what it takes by unit."""
