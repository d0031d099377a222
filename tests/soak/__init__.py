# SPDX-License-Identifier: BSD-2-Clause
"""Jobs at random on a device for as long as one likes: ``python -m tests.soak``."""
