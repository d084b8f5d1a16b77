"""The page on sizes: its tables follow from the rates, and their formulas from what faiss writes."""

import runpy

import faiss
import numpy as np
import pytest
from helpers.paths import ROOT

SCALE = runpy.run_path(str(ROOT / "benchmarks" / "retrieval" / "scale.py"))


def test_tables_of_the_page_are_those_of_the_rates():
    text = SCALE["PAGE"].read_text("utf-8")
    assert text.count("<!-- table ") == text.count("<!-- end -->") == len(SCALE["TABLES"])
    assert SCALE["fill"](text) == text
    assert SCALE["fill"](text.replace("| 650 M |", "| 651 M |", 1)) == text


@pytest.mark.parametrize(("kind", "name"), [("SQ8", "IVF16,SQ8"), ("PQ", "IVF16,PQ{}x8")])
def test_bytes_of_a_vector_are_those_that_faiss_writes(kind, name):
    dim, rows = 64, np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)
    index = faiss.index_factory(dim, name.format(dim // 8))
    index.train(rows)
    sizes = []
    for part in (rows[:2000], rows[2000:]):
        index.add(part)
        sizes.append(len(faiss.serialize_index(index)))
    assert sizes[1] - sizes[0] == 2000 * SCALE["index_bytes"](kind, dim)


def test_hours_are_items_over_rate():
    hours = {row[0]: row for row in SCALE["hours_table"]()[1:]}
    row = hours["score every multilingual pair once, MLMM"]
    expected = 210e6 / SCALE["RATES"]["mlmm_pair"] / 3600
    assert float(row[3].replace(",", "")) == pytest.approx(expected, rel=5e-3)
    assert float(row[4].replace(",", "")) == pytest.approx(expected / 24_000, rel=5e-3)
