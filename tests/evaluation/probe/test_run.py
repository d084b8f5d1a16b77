import csv
import io
import json

import numpy as np
import pytest
from helpers.image_folder import write_image_folder, write_probe_inputs
from wenlan.analysis.plots.fonts import font_files
from wenlan.data.rows.report import BadRowReport
from wenlan.evaluation.probe.features import Features
from wenlan.evaluation.probe.report import COLUMNS, draw_curves, format_csv, format_table
from wenlan.evaluation.probe.run import RANDOM_TOWER, TRAINED, _notes, probe_features, run_probe

BACKBONE = "timm:test_efficientnet:random"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = write_probe_inputs(tmp_path_factory.mktemp("probe"))
    return [str(root / "model")], root / "train", root / "test"


@pytest.fixture(scope="module")
def metrics(folders):
    models, train, test = folders
    return run_probe([*models, BACKBONE], train, test)


def synthetic(count, seed, classes=4, signal=3.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = rng.normal(size=(count, 10)) + signal * np.eye(classes, 10)[labels]
    return Features({"pooled": rows}, [f"c{label}" for label in labels], BadRowReport("synthetic", count))


def test_separable_features_are_told_apart_and_permuted_labels_are_at_chance():
    found = probe_features(synthetic(200, 1), synthetic(400, 2), "pooled", seed=0)
    assert found["linear"]["accuracy"] > 90
    assert found["knn"]["5"]["accuracy"] > 90
    assert found["permuted_labels"]["mean"] == pytest.approx(25, abs=12)
    assert found["permuted_labels"]["n"] == 5
    low, high = found["linear"]["interval"]
    assert 85 < low <= found["linear"]["accuracy"] <= high


def test_features_of_noise_are_at_chance():
    found = probe_features(synthetic(200, 1, signal=0), synthetic(400, 2, signal=0), "pooled", seed=0)
    for accuracy in (found["linear"]["accuracy"], found["knn"]["20"]["accuracy"], found["few_shot"][-1]["mean"]):
        assert accuracy == pytest.approx(25, abs=8)


def test_metrics_have_counts_chance_and_controls(metrics, folders):
    assert {name: metrics[name] for name in ("n_train", "n_test", "classes", "seed", "comparable")} == {
        "n_train": 15,
        "n_test": 12,
        "classes": 3,
        "seed": 0,
        "comparable": False,
    }
    assert (metrics["chance"], metrics["majority"]) == pytest.approx((100 / 3, 100 / 3))
    assert list(metrics["towers"]) == [folders[0][0], BACKBONE]
    for tower in metrics["towers"].values():
        assert list(tower) == [TRAINED, RANDOM_TOWER]
    model = metrics["towers"][folders[0][0]]
    assert list(model[TRAINED]["layers"]) == ["embeddings", "pooled"]
    assert model[TRAINED]["model_id"] != model[RANDOM_TOWER]["model_id"]
    assert [point["shots"] for point in model[TRAINED]["layers"]["pooled"]["few_shot"]] == [1, 2, 4]
    assert list(model[TRAINED]["layers"]["pooled"]["knn"]) == ["1", "5"]


def test_colours_are_told_apart_by_a_random_backbone(metrics):
    assert metrics["towers"][BACKBONE][TRAINED]["layers"]["backbone"]["linear"]["accuracy"] == 100


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name != "seconds"}
    return value


def test_same_seed_gives_the_same_metrics(folders):
    models, train, test = folders
    options = {"layers": ["pooled"], "random_tower": False}
    first, again = (run_probe(models, train, test, **options) for _ in range(2))
    assert json.dumps(without_times(first)) == json.dumps(without_times(again))
    other = run_probe(models, train, test, seed=1, **options)
    assert json.dumps(without_times(first)) != json.dumps(without_times(other))


def test_one_image_a_class_is_enough(folders, tmp_path):
    models, _, test = folders
    train = write_image_folder(tmp_path / "one", count=1)
    found = run_probe(models, train, test, layers=["backbone"], random_tower=False)
    layer = found["towers"][models[0]][TRAINED]["layers"]["backbone"]
    assert (layer["linear"]["C"], layer["linear"]["validation"]) == (1.0, {})
    assert [point["shots"] for point in layer["few_shot"]] == [1]


def test_few_images_are_warned_of(metrics):
    few, no_width = metrics["notes"]
    assert few.startswith("Few images: there are 12 to evaluate on, 4.0 a class, so that one is 8.3 points")
    assert "all of 12 images are right, or all wrong" in no_width
    assert "the exact one is 26.5 points wide" in no_width  # 12 of 12 by Clopper and Pearson: 73.5 to 100
    assert format_table(metrics).endswith(f"\n{few}\n{no_width}")


def test_many_images_are_not_warned_of_and_classes_without_any_are_named():
    layer = {"linear": {"accuracy": 99.0}, "knn": {"1": {"accuracy": 50.0}}}
    towers = {"model": {TRAINED: {"layers": {"pooled": layer}}}}
    assert list(_notes(["a", "b"], ["a", "b"] * 50, towers)) == []
    told = list(_notes(["a", "b", "c"], ["a", "b"] * 50, towers))
    assert told == ["1 of 3 classes have no image to evaluate on: c."]
    layer["knn"]["1"]["accuracy"] = 0.0
    assert "the exact one is 3.6 points wide" in next(_notes(["a", "b"], ["a", "b"] * 50, towers))


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], {}, "models are none; give each one once"),
        (["a", "a"], {}, "models are a, a; give each one once"),
        (["a"], {"layers": []}, "layers are none; give some of embeddings, pooled, backbone"),
        (["a"], {"layers": ["last"]}, "layers are last; give some of"),
    ],
)
def test_wrong_arguments_are_refused(models, options, message, folders):
    with pytest.raises(ValueError, match=message):
        run_probe(models, *folders[1:], **options)


def test_class_that_lost_its_training_images_is_told(folders, tmp_path, monkeypatch):
    models, _, test = folders
    monkeypatch.setattr("wenlan.evaluation.probe.features.MAX_BAD_FRACTION", 1)
    train = write_image_folder(tmp_path / "train", count=1)
    (train / "red" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match="nothing to train on of 1 classes of the evaluation: red"):
        run_probe(models, train, test, random_tower=False)


def test_csv_has_a_row_for_each_number(metrics, folders):
    rows = list(csv.DictReader(io.StringIO(format_csv(metrics))))
    assert tuple(rows[0]) == COLUMNS
    # linear, permuted, two k and three shots, of two layers and of one, each with its random tower
    assert len(rows) == 2 * (2 + 1) * (2 + 2 + 3)
    linear = metrics["towers"][folders[0][0]][TRAINED]["layers"]["embeddings"]["linear"]
    assert float(rows[0]["accuracy"]) == linear["accuracy"]
    assert (rows[0]["probe"], rows[0]["n"], float(rows[0]["low"])) == ("linear", "12", linear["interval"][0])
    assert rows[4] | {"accuracy": "", "low": "", "high": "", "std": ""} == {
        **dict.fromkeys(COLUMNS, ""), "model": folders[0][0], "weights": TRAINED, "layer": "embeddings",
        "dimension": "24", "probe": "few-shot", "parameter": "1", "n": "5",
    }  # fmt: skip


def test_table_names_towers_and_chance(metrics):
    table = format_table(metrics)
    assert f"{BACKBONE}, random tower, backbone" in table
    assert "Percent of 12 images of 3 classes, trained on 15; chance 33.3, the most common class 33.3." in table


@pytest.mark.parametrize("fonts", [[], font_files()])
def test_curves_are_drawn_for_each_tower_with_chance(fonts, metrics):
    figure = draw_curves(metrics, fonts)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    assert len(content.getvalue()) > 5000
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 7
    assert "chance" in labels
