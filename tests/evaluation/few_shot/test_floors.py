import os
import sys

import numpy as np
import pytest
from helpers.few_shot import write_csldcp
from wenlan.data.csldcp.load import find_csldcp, read_csldcp
from wenlan.evaluation.few_shot.draws import accuracy
from wenlan.evaluation.few_shot.floors import FLOORS, TfidfFloors, most_frequent

PUBLISHED = {"one sample": 18.1, "label name": 23.0, "sample + label name": 29.4, "centroid of all samples": 44.2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_csldcp(write_csldcp(tmp_path_factory.mktemp("few") / "csldcp"))


def test_cosines_are_those_of_dense_vectors(data):
    floors = TfidfFloors(data, 1)
    train, names, texts = (part.toarray() for part in (floors._train, floors._names, floors._test))
    samples = train[data.draw(1, 2)]
    centroids = np.stack([train[data.train[1].labels == label].mean(axis=0) for label in range(3)])
    wanted = dict(zip(FLOORS, (samples, names, samples + names, centroids), strict=True))
    for floor, prototypes in wanted.items():
        scores = texts @ (prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)).T
        assert floors.predict(floor, 2).tolist() == scores.argmax(axis=1).tolist()


def test_more_information_finds_more(data):
    found = {
        floor: np.mean([accuracy(TfidfFloors(data, s).predict(floor, 0), data.test.labels) for s in range(5)])
        for floor in FLOORS
    }
    assert found["centroid of all samples"] >= found["one sample"] > 1 / 3


def test_texts_that_are_classified_do_not_change_the_weights(data, tmp_path):
    less = read_csldcp(write_csldcp(tmp_path / "csldcp", tested=1))
    whole = TfidfFloors(data, 0).predict("one sample", 0)
    assert TfidfFloors(less, 0).predict("one sample", 0).tolist() == whole[[0, 6]].tolist()


def test_most_frequent_class_is_a_floor():
    assert most_frequent([0, 2, 2, 1]) == 50


@pytest.mark.skipif("WENLAN_FEWCLUE" not in os.environ, reason="the user's copy of FewCLUE is not there")
@pytest.mark.slow
def test_floors_on_the_real_files_are_within_a_point_and_a_half():
    data = read_csldcp(find_csldcp(None))
    right = {floor: [] for floor in FLOORS}
    for split in range(5):
        floors = TfidfFloors(data, split)
        for floor in FLOORS:
            right[floor] += [accuracy(floors.predict(floor, draw), data.test.labels) for draw in range(5)]
    assert {floor: 100 * np.mean(values) for floor, values in right.items()} == pytest.approx(PUBLISHED, abs=1.5)


def test_missing_package_is_told_before_anything_is_fitted(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"scikit-learn: pip install 'wenlan\[few-shot\]'"):
        TfidfFloors(data, 0)
