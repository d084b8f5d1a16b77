import numpy as np
from wenlan.analysis.word_neighbors.histogram import draw_histograms, histogram


def test_density_has_area_one_in_fifty_bins():
    densities, edges = histogram(np.random.default_rng(0).beta(2, 5, 1000))
    assert len(densities) == 50
    assert (edges[0], edges[-1]) == (0, 1)
    assert np.isclose((densities * np.diff(edges)).sum(), 1)


def test_pairs_and_controls_are_told_in_the_figure():
    values = {"encoder / BriVL": np.full(10, 0.25), "encoder / 图文": np.full(10, 0.5)}
    figure = draw_histograms(values, {"rotated": 0.9999, "random": 0.0003}, k=100, words=170_000)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["encoder / BriVL: 0.250", "encoder / 图文: 0.500"]
    assert [line.split() for line in axes.texts[0].get_text().split("\n")[1:]] == [
        ["rotated", "0.9999"],
        ["random", "0.0003"],
    ]
    assert axes.get_xlabel() == "Jaccard index of the 100 nearest neighbours, 170,000 words"
