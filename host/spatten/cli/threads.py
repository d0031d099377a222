# SPDX-License-Identifier: BSD-2-Clause
"""Imported before numpy: one BLAS thread, or torch's and numpy's pools spin against each other."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
