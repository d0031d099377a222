# SPDX-License-Identifier: BSD-2-Clause
"""The classifier on frozen embeddings: trained once, on float ones: rows differ in the encoder alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..report.write import write_atomic
from .data import Labelled

Encode = Callable[[Sequence[str]], NDArray[np.float64]]

#: Inverse strengths of the L2 penalty to choose from, by cross-validation within the training examples.
PENALTIES, FOLDS = (1.0, 10.0, 100.0), 5


@dataclass(frozen=True)
class Head:
    """A logistic regression: class 1 where ``x @ weights + bias`` is positive."""

    weights: list[float]
    bias: float

    def predict(self, embeddings: NDArray[np.float64]) -> NDArray[np.int64]:
        """Classes 0 or 1 of [n, hidden] embeddings."""
        return np.asarray(embeddings @ np.array(self.weights) + self.bias > 0, np.int64)


def trained_head(encode: Encode, examples: Sequence[Labelled], model_digest: str, cache: Path) -> Head:
    """The head of these examples and this model, from ``cache`` or trained on ``encode`` now."""
    path = cache / f"head-{_key(examples, model_digest)}.json"
    if path.is_file():
        return Head(**json.loads(path.read_text("utf-8")))
    head = fitted(encode([example.text for example in examples]), [example.label for example in examples])
    write_atomic(path, json.dumps(asdict(head)))
    return head


def fitted(embeddings: NDArray[np.float64], labels: Sequence[int]) -> Head:
    """Logistic regression of [n, hidden] embeddings on labels 0 and 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(LogisticRegression(max_iter=2000), {"C": PENALTIES}, cv=FOLDS)
    found = search.fit(embeddings, labels).best_estimator_
    return Head(found.coef_[0].tolist(), float(found.intercept_[0]))


def _key(examples: Sequence[Labelled], model_digest: str) -> str:
    versions = {name: metadata.version(name) for name in ("scikit-learn", "torch", "transformers")}
    settled = [PENALTIES, FOLDS, model_digest, versions, [list(example) for example in examples]]
    return hashlib.sha256(json.dumps(settled).encode()).hexdigest()[:16]
