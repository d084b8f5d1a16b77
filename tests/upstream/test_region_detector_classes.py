"""A detector that gets classes of its own as any model of transformers does: trained, saved, opened, in a pipeline."""

import json

import pytest
import torch
from helpers.perturb import perturb
from helpers.regions.tiny_detector import KINDS, tiny_detector
from huggingface_hub.errors import StrictDataclassClassValidationError
from PIL import Image
from transformers import AutoConfig, AutoModelForObjectDetection, Trainer, TrainingArguments, pipeline
from wenlan.modeling_region_detector import RegionDetector, RegionImageProcessor
from wenlan.processing.collators.detection import DetectionCollator

OLD = {0: "cat", 1: "dog", 2: "kite"}
OWN = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One detector of three classes a kind, with its image processor."""
    root = tmp_path_factory.mktemp("detectors")
    for kind, (variant, _) in KINDS.items():
        perturb(tiny_detector(kind, id2label=OLD), scale=0.01).save_pretrained(root / kind)
        size = {"shortest_edge": 64, "longest_edge": 96}
        RegionImageProcessor.from_variant(variant, {"size": size}).save_pretrained(root / kind)
    return root


def test_classes_of_ones_own_from_checkpoint_to_pipeline(folders, tmp_path):
    for kind in KINDS:
        check_from_checkpoint_to_pipeline(folders / kind, tmp_path / kind)


def check_from_checkpoint_to_pipeline(source, folder):
    model = AutoModelForObjectDetection.from_pretrained(source, **OWN, ignore_mismatched_sizes=True)
    processor = RegionImageProcessor.from_pretrained(source)
    before = model.roi_heads.box_predictor.cls_score.weight.detach().clone()
    rows = [
        {
            "image": Image.new("RGB", (96, 64), color),
            "image_id": number,
            "objects": [{"bbox": [8, 8, 40, 40], "category_id": number % 2, "attribute_ids": []}],
        }
        for number, color in enumerate(("red", "blue", "red", "blue"))
    ]
    args = TrainingArguments(
        output_dir=str(folder / "run"),
        max_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        remove_unused_columns=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model, args, data_collator=DetectionCollator(processor), train_dataset=rows, processing_class=processor
    )
    loss = trainer.train().training_loss
    assert 0 < loss < 100
    assert not torch.equal(model.roi_heads.box_predictor.cls_score.weight, before)
    trainer.save_model(str(folder))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["id2label"], config["label2id"]) == ({"0": "a", "1": "b"}, {"a": 0, "b": 1})
    detect = pipeline("object-detection", model=str(folder))
    assert (detect.model.config.id2label, detect.model.config.label2id) == tuple(OWN.values())
    assert detect.model.roi_heads.box_predictor.cls_score.out_features == 3
    found = detect(Image.new("RGB", (96, 64), "red"), threshold=1e-4)
    assert found
    assert {one["label"] for one in found} <= {"a", "b"}


WAYS = {
    "fewer names": (OWN, ["a", "b"]),
    "more names alone": ({"id2label": {0: "a", 1: "b", 2: "c", 3: "d"}}, ["a", "b", "c", "d"]),
    "fewer by number": ({"num_labels": 1}, ["LABEL_0"]),
    "more by number": ({"num_labels": 5}, [f"LABEL_{index}" for index in range(5)]),
    "by our own name": ({"num_objects": 2}, ["LABEL_0", "LABEL_1"]),
    "as many under other names": ({"id2label": {"0": "x", "1": "y", "2": "z"}}, ["x", "y", "z"]),
    "as many": ({"num_labels": 3}, list(OLD.values())),
}


@pytest.mark.parametrize("way", WAYS)
def test_names_and_head_agree_whichever_way_classes_are_given(way, folders, tmp_path):
    given, names = WAYS[way]
    old = RegionDetector.from_pretrained(folders / "bua")
    model = RegionDetector.from_pretrained(folders / "bua", **given, ignore_mismatched_sizes=True)
    model.save_pretrained(tmp_path)
    for opened in (model, AutoModelForObjectDetection.from_pretrained(tmp_path)):
        assert opened.config.id2label == dict(enumerate(names))
        assert opened.config.label2id == {name: index for index, name in enumerate(names)}
        assert opened.config.num_objects == opened.config.num_labels == len(names)
        head = opened.roi_heads.box_predictor
        assert [len(x.weight) for x in (head.cls_score, head.cls_embed)] == [len(names) + 1] * 2
        assert len(head.bbox_pred.weight) == 4 * (len(names) + 1)
        assert torch.equal(head.cls_score.weight, old.roi_heads.box_predictor.cls_score.weight) == (len(names) == 3)
        assert torch.equal(head.attr_linear2.weight, old.roi_heads.box_predictor.attr_linear2.weight)
        assert opened(torch.zeros(1, 3, 64, 96)).logits.shape[2] == len(names) + 1


def test_other_classes_without_leave_to_ignore_sizes_are_refused(folders):
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        RegionDetector.from_pretrained(folders / "timm", **OWN)


@pytest.mark.parametrize("names", [{1: "a", 2: "b"}, {0: "a", 2: "b"}])
def test_classes_that_are_not_numbered_from_0_are_refused_before_training(names, folders):
    with pytest.raises(ValueError, match="must name the classes 0 to 1"):
        RegionDetector.from_pretrained(folders / "timm", id2label=names, ignore_mismatched_sizes=True)


@pytest.mark.parametrize("given", [{}, {"id2label": {0: "x", 1: "y"}}])
def test_numbers_of_classes_without_their_names_are_refused(given, folders):
    with pytest.raises(StrictDataclassClassValidationError, match="label2id has a class 'a' that id2label lacks"):
        RegionDetector.from_pretrained(
            folders / "timm", **given, label2id={"a": 0, "b": 1}, ignore_mismatched_sizes=True
        )


def test_folder_of_an_older_version_opens(folders, tmp_path):
    """Its config.json says `num_objects` beside the names, or, where they were never given, alone."""
    model = tiny_detector("d2-c4")
    model.save_pretrained(tmp_path)
    for lacking in ([], ["id2label", "label2id"]):
        config = json.loads((tmp_path / "config.json").read_text("utf-8"))
        (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in lacking}))
        assert config["num_objects"] == AutoConfig.from_pretrained(tmp_path).num_labels == 3
        assert len(RegionDetector.from_pretrained(tmp_path).config.id2label) == 3
