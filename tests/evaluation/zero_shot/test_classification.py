"""Streamed zero-shot classification: ties, batches, bad images, interruption."""

import numpy as np
import pytest
import torch
from helpers.class_folders import NAMES, image_bytes, write_class_file, write_class_folders
from transformers import pipeline
from wenlan.data.rows.report import TooManyBadRowsError
from wenlan.data.zero_shot.data_sets import emoji7_data, own_data
from wenlan.evaluation.zero_shot import classification, evaluate
from wenlan.evaluation.zero_shot.anchors import ClassAnchors
from wenlan.evaluation.zero_shot.evaluate import evaluate_zero_shot
from wenlan.evaluation.zero_shot.prediction_shards import PredictionShards
from wenlan.processing import decode_image

IMAGES = 4  # of each class


@pytest.fixture
def data(tmp_path):
    folder = write_class_folders(tmp_path / "root", dict.fromkeys(NAMES, IMAGES))
    return own_data(folder, write_class_file(tmp_path / "classes.tsv"))


@pytest.fixture
def classify(tiny_brivl, data, tmp_path):
    """Classifies the data into a folder."""

    def classify(folder="out", model=None, **options):
        model = tiny_brivl[0] if model is None else model
        return evaluate_zero_shot(model, tiny_brivl[1], data, data.open_images(), tmp_path / folder, **options)

    return classify


def test_every_image_has_the_order_of_classes_of_the_pipeline(classify, tiny_brivl, data):
    model, processor = tiny_brivl
    found = classify()
    pipe = pipeline(
        "zero-shot-image-classification",
        model=model,
        tokenizer=processor.tokenizer,
        image_processor=processor.image_processor,
    )
    names = [name for name, *_ in data.classes["zh"].names]
    images = [decode_image(one.image) for one in found.images]
    theirs = [[row["label"] for row in rows] for rows in pipe(images, candidate_labels=names, hypothesis_template="{}")]
    ours = [[names[index] for index in row] for row in found.found.settings["zh {}"].top]
    assert ours == [row[:5] for row in theirs]


def test_scores_do_not_depend_on_the_batch_size(classify):
    one, many = (classify(f"by{size}", batch_size=size).found.settings["zh ensemble"] for size in (1, 7))
    np.testing.assert_allclose(one.scores, many.scores, atol=1e-5)
    np.testing.assert_array_equal(one.top, many.top)


def test_lower_index_wins_a_tie():
    anchors = ClassAnchors(torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), torch.arange(3), 3)
    found = classification._predict(torch.tensor([[1.0, 0.0]] * 2), torch.tensor([1, 2]), anchors, anchors)
    assert found.top.tolist() == [[1, 2, 0]] * 2
    assert found.margin.tolist() == [0, 0]


def test_permuted_names_are_predicted_as_the_classes_that_have_them(classify):
    found = classify(seed=5)
    own = found.classes["zh"]
    other = own.permuted(5)
    rows = found.found.settings["zh {}"]
    by_name = [own.names[index] for index in rows.top[:, 0]]
    assert [other.names[index] for index in rows.permuted[:, 0]] == by_name


def test_undecodable_images_are_skipped_and_counted(classify, data, tmp_path):
    root = tmp_path / "root"
    for class_id in NAMES:  # 306 images, of which three may be bad
        for number in range(IMAGES, 51):
            (root / class_id / f"{number}.png").write_bytes(image_bytes(number))
    for number in range(3):
        (root / "cat" / f"{number}.png").write_bytes(b"damaged")
    found = classify()
    assert (found.report.rows_kept, found.report.counts) == (303, {"not an image": 3})
    assert found.facts["n"] == 303
    (root / "cat" / "4.png").write_bytes(image_bytes(4)[:60])
    with pytest.raises(TooManyBadRowsError, match=r"More than 1% of the .*\n.*kept .*"):
        classify("other")


def test_nothing_that_can_be_decoded_is_an_error(classify, tmp_path):
    for path in (tmp_path / "root").rglob("*.png"):
        path.write_bytes(b"damaged")
    with pytest.raises(TooManyBadRowsError, match="not an image"):
        classify()


def test_too_many_undecodable_images_stop_the_run_before_its_end(classify, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "SHARD_SIZE", 4)
    for path in (tmp_path / "root" / "apple").iterdir():  # the first class
        path.write_bytes(b"damaged")
    with pytest.raises(TooManyBadRowsError, match="More than 1% of the images cannot be read"):
        classify()
    assert len(list((tmp_path / "out" / "rows").glob("*.parquet"))) == 1


def test_weights_and_gradients_are_left_alone(classify, tiny_brivl):
    before = {name: value.clone() for name, value in tiny_brivl[0].state_dict().items()}
    classify()
    assert all(torch.equal(value, before[name]) for name, value in tiny_brivl[0].state_dict().items())
    assert not any(weight.requires_grad for weight in tiny_brivl[0].parameters())


def test_weights_that_change_are_found(classify, tiny_brivl, monkeypatch):
    digests = iter(["first", "first", "other"])
    monkeypatch.setattr(evaluate, "hash_model", lambda model: "first")
    monkeypatch.setattr(classification, "hash_model", lambda model: next(digests, "other"))
    next(digests)
    with pytest.raises(AssertionError, match="frozen"):
        classify()


def test_interrupted_run_goes_on_to_the_same_numbers(classify, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "SHARD_SIZE", 5)
    whole = classify("whole", batch_size=3)
    write, written = PredictionShards.write, []

    def interrupt(self, shard, piece):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard)
        write(self, shard, piece)

    monkeypatch.setattr(PredictionShards, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        classify("broken", batch_size=3)
    monkeypatch.setattr(PredictionShards, "write", lambda *args: (written.append(args[1]), write(*args)))
    resumed = classify("broken", batch_size=3)
    assert written == [0, 1, 2, 3, 4]
    assert resumed.facts == whole.facts
    for name in ("predictions.csv", "per_class.csv", "confusions.csv"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, root: root.joinpath("cat", "0.png").write_bytes(image_bytes(60)), "images.digest"),
        (lambda data, root: data.classes.update(zh=data.classes["zh"].permuted(1)), "classes.zh"),
        (lambda data, root: data.templates.update(zh=("{}",)), "templates.zh"),
    ],
)
def test_run_does_not_go_on_with_other_data(classify, data, tmp_path, change, message):
    classify()
    change(data, tmp_path / "root")
    with pytest.raises(ValueError, match=f"was begun otherwise: {message}"):
        classify()


def test_run_does_not_go_on_with_another_model_or_other_options(classify, tiny_brivl):
    classify()
    other = type(tiny_brivl[0])(tiny_brivl[0].config)
    with pytest.raises(ValueError, match="model is"):
        classify(model=other)
    with pytest.raises(ValueError, match="synonyms is 'max' there and 'mean' now"):
        classify(synonyms="mean")


def test_single_bare_template_is_reported_once(classify, data):
    data.templates.update(zh=("{}",))
    assert list(classify().settings) == ["zh {}"]


def test_facts_hold_both_kinds_of_anchors_beside_their_controls(classify, tmp_path):
    facts = classify().facts
    chinese = facts["languages"]["zh"]
    assert (facts["n"], facts["classes"], facts["classes_without_images"]) == (24, 6, [])
    assert {"{}", "ensemble"} < chinese.keys()
    assert chinese["ensemble"]["chance_top_1"] == pytest.approx(100 / 6)
    assert set(chinese["per_class"]) == set(NAMES)
    assert len(chinese["class_list_sha256"]) == 64
    lines = (tmp_path / "out" / "predictions.csv").read_text("utf-8").splitlines()
    assert len(lines) == 25
    assert lines[1].startswith("apple/0.png,apple,")


def test_random_tower_stays_within_chance_and_three_points(tiny_brivl, tmp_path):
    data = emoji7_data(["zh"])
    data.templates.update(zh=("{}",))
    facts = evaluate_zero_shot(*tiny_brivl, data, data.open_images(limit=300), tmp_path).facts
    metrics = facts["languages"]["zh"]["{}"]
    for kind in ("top_1", "top_5"):
        assert metrics[kind] <= metrics[f"chance_{kind}"] + 3
