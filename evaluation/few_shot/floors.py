"""Floors of a few-shot text classification: what counts of characters reach without any network.

A text is its character unigrams and bigrams, weighted by TF-IDF; a class is one or several of them, and the most
similar class by the cosine wins. The weights are fitted on the training set and the names of the classes, never on
the texts that are classified.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ...data.csldcp.load import CSLDCP

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PROTOTYPES = ("one sample", "label name", "sample + label name")
FLOORS = (*PROTOTYPES, "centroid of all samples")


def check_scikit_learn() -> None:
    """Raise ImportError, with what to install, where scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise ImportError("Floors of TF-IDF need scikit-learn: pip install 'wenlan[few-shot]'")


class TfidfFloors:
    """Classifies the test texts of CSLDCP from one of its training sets.

    Args:
        data: of `read_csldcp`.
        split: number of the training set.

    Raises:
        ImportError: scikit-learn is not installed.
    """

    def __init__(self, data: CSLDCP, split: int) -> None:
        check_scikit_learn()
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._data, self._split = data, split
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
        train = data.train[split].texts
        vectorizer.fit([*train, *data.classes])
        self._train, self._names = vectorizer.transform(train), vectorizer.transform(data.classes)
        self._test = vectorizer.transform(data.test.texts)

    def predict(self, floor: str, draw: int) -> np.ndarray:
        """Return (texts,) the predicted class of each test text.

        Args:
            floor: one of `FLOORS`. Label names alone and the centroid of all samples do not depend on the draw.
        """
        samples = self._train[self._data.draw(self._split, draw)]
        prototypes = {
            "one sample": lambda: samples,
            "label name": lambda: self._names,
            "sample + label name": lambda: samples + self._names,
            "centroid of all samples": self._centroids,
        }[floor]()
        return nearest(self._test, prototypes)

    def _centroids(self) -> "csr_matrix":
        members = self._data.train[self._split].labels == np.arange(len(self._data.classes))[:, None]
        return type(self._train)(members.astype(float)) @ self._train


def nearest(texts: "csr_matrix", prototypes: "csr_matrix") -> np.ndarray:
    """Return (texts,) the number of the prototype with the largest cosine; of equal ones the first.

    Rows of both are sparse, of texts unit rows.
    """
    from sklearn.preprocessing import normalize

    return (texts @ normalize(prototypes).T).toarray().argmax(axis=1)


def most_frequent(labels: Sequence[int] | np.ndarray) -> float:
    """Return the accuracy, in percent, of always naming the most frequent class."""
    return 100 * float(np.bincount(labels).max() / len(labels))


__all__ = ["FLOORS", "PROTOTYPES", "TfidfFloors", "check_scikit_learn", "most_frequent", "nearest"]
