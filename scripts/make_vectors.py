# SPDX-License-Identifier: BSD-2-Clause
"""Write the golden vectors of tests/vectors again: `python scripts/make_vectors.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.model.make_vectors import FOLDER, main

main()
print(f"wrote {len(list(FOLDER.glob('*.npz')))} vectors to {FOLDER}")
