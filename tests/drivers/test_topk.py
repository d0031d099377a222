# SPDX-License-Identifier: BSD-2-Clause
"""Survivors against sorting."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers.topk import top_k


@given(
    data=st.data(),
    scores=st.lists(st.integers(0, 5) | st.integers(0, (1 << 48) - 1), min_size=1, max_size=60),
)
def test_protected_then_greater_then_lower(data: st.DataObject, scores: list[int]) -> None:
    k = data.draw(st.integers(1, len(scores)))
    protected = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    preferred = sorted(range(len(scores)), key=lambda i: (not protected[i], -scores[i], i))
    survivors = top_k(np.array(scores), k, np.array(protected))
    assert survivors.tolist() == sorted(preferred[:k])


def test_without_protection_ties_fall_to_the_lower_index() -> None:
    assert top_k(np.array([7, 7, 9, 7], np.uint32), 2).tolist() == [0, 2]
