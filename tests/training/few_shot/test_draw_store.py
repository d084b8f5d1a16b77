import numpy as np
from wenlan.training.few_shot.draw_store import DrawStore


def test_predictions_are_found_again_by_their_draw(tmp_path):
    store = DrawStore(tmp_path, "brivl_tiny, both, permuted")
    store.add(0, 1, np.array([2, 0]))
    store.add(3, 0, np.array([1, 1]), {"residual_penalty": 10.0})
    again = DrawStore(tmp_path, "brivl_tiny, both, permuted")
    assert (0, 1) in again
    assert (1, 0) not in again
    assert again.predictions([(3, 0), (0, 1)]).tolist() == [[1, 1], [2, 0]]
    assert again.chosen("residual_penalty", [(3, 0)]) == [10.0]
    assert (0, 1) not in DrawStore(tmp_path, "brivl_tiny, both")


def test_line_that_a_kill_cut_is_taken_away(tmp_path):
    store = DrawStore(tmp_path, "row")
    store.add(0, 0, np.array([2, 0]))
    whole = store.path.read_text("utf-8")
    store.path.write_text(whole + '{"split": 0, "draw": 1, "predic', "utf-8")
    again = DrawStore(tmp_path, "row")
    assert (0, 0) in again
    assert (0, 1) not in again
    assert store.path.read_text("utf-8") == whole
