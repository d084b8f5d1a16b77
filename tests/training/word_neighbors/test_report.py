import numpy as np
from PIL import Image
from wenlan.analysis.word_neighbors.graph import Neighborhood
from wenlan.training.word_neighbors.measure import Space
from wenlan.training.word_neighbors.report import write_graphs
from wenlan.training.word_neighbors.spaces import ALONE, FURTHER, OTHER_SEED


def make(name: str) -> Space:
    one = Neighborhood(name, ["红/星", "太阳", "月亮", "地球"], np.eye(4))
    return Space(name, "", 4, neighborhoods=[one])


def test_graphs_are_of_the_reference_and_models_and_may_be_of_any_word(tmp_path):
    for names, panels in ((["a"], 2), (["a", "b"], 3), ([], 2)):
        spaces = [make(name) for name in (ALONE, FURTHER, *names, OTHER_SEED)]
        write_graphs(spaces, tmp_path, reference=FURTHER, seed=0)
        assert Image.open(tmp_path / "graph_红_星.png").width == 720 * panels
    rows = (tmp_path / "neighbours.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + 2 * 3
    assert rows[1] == "红/星,encoder alone,1,太阳,0.000000"
