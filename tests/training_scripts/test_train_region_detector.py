import copy
import io
import json
import shutil
from contextlib import redirect_stdout

import pytest
import torch
from helpers.training import recipes
from helpers.training.checkpoints import assert_opens_like
from helpers.training.recipes import write_recipe
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForObjectDetection
from wenlan.data import DetectionRows, TooManyBadRowsError, load_emoji_scenes
from wenlan.modeling_region_detector import RegionDetector, RegionImageProcessor
from wenlan.processing import DetectionCollator
from wenlan.processing.regions import RegionFeatureExtractor
from wenlan.training.callbacks.outcome import OutcomeGuard
from wenlan.training.callbacks.skip_non_finite import NonFiniteGuard
from wenlan.training.detection.data import load_test_data, load_training_data
from wenlan.training.detection.model import DetectorArguments, build_config, build_detector
from wenlan.training.detection.trainer import DetectorTrainer
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.train_region_detector import ARGUMENTS, main

SMOKE = [*recipes.SMOKE, "--max_steps", "2", "--per_device_train_batch_size", "4", "--logging_steps", "1"]


@pytest.fixture(scope="module")
def small_recipe(tmp_path_factory):
    """The shipped recipe on 16 classes at 128 px."""
    changes = {"scenes": "8", "scene_options": {"num_classes": 16, "canvas": 128}}
    changes["image_processor"] = {"size": {"shortest_edge": 128, "longest_edge": 128}}
    return write_recipe(tmp_path_factory.mktemp("recipe") / "small.yaml", "detector_tiny", **changes)


@pytest.fixture
def own_file(tmp_path):
    """A COCO file of six scenes with attributes; one more image is broken."""
    images, annotations = [], []
    for number, scene in enumerate(load_emoji_scenes("detect", 6, num_classes=16, canvas=128)):
        scene["image"].save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 128})
        for item in scene["objects"]:
            x1, y1, x2, y2 = item["bbox"]
            annotation = {"image_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "attribute_ids": item["attributes"]}
            annotations.append(annotation | {"category_id": item["category_id"]})
    (tmp_path / "6.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    images.append({"id": 6, "file_name": "6.png", "width": 128, "height": 128})
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": index, "name": f"class {index}"} for index in range(16)]
    content["attributes"] = [{"id": index, "name": f"attribute {index}"} for index in range(4)]
    (tmp_path / "train.json").write_text(json.dumps(content), "utf-8")
    return tmp_path / "train.json"


@pytest.mark.parametrize(("name", "variant"), [("detector_tiny", "d2-fpn"), ("detector_vg", "bua")])
def test_every_shipped_recipe_builds(name, variant, tmp_path):
    options = [name, "--output_dir", str(tmp_path), "--bf16", "false"]
    model_args, *_, args = parse_recipe(ARGUMENTS, options)
    classes, attributes = [f"class {i}" for i in range(1600)], [f"attribute {i}" for i in range(400)]
    with torch.device("meta"):
        model = RegionDetector(build_config(model_args, classes, attributes))
    assert model.roi_heads.box_predictor.cls_score.weight.shape[0] == 1601
    assert any(p.requires_grad for p in model.backbone.parameters())
    assert not all(p.requires_grad for p in model.backbone.parameters())
    assert (args.remove_unused_columns, args.eval_do_concat_batches) == (False, False)


def test_visual_genome_recipe_has_the_size_of_the_published_detector(tmp_path):
    model_args = parse_recipe(ARGUMENTS, ["detector_vg", "--output_dir", str(tmp_path), "--bf16", "false"])[0]
    config = build_config(model_args, ["x"] * 1600, ["y"] * 400)
    assert (config.depth, config.head, config.pooler_size, config.feature_dim) == (101, "res5", 14, 2048)


@pytest.fixture(scope="module")
def trained(small_recipe, tmp_path_factory):
    """The folder after two steps, and what was printed."""
    torch.set_num_threads(1)
    printed = io.StringIO()
    with redirect_stdout(printed):
        folder = main([small_recipe, *SMOKE, "--output_dir", str(tmp_path_factory.mktemp("runs") / "out")])
    return folder, printed.getvalue()


def test_recipe_trains_and_the_folder_opens(trained):
    folder, printed = trained
    model, processor = AutoModelForObjectDetection.from_pretrained(folder), RegionImageProcessor.from_pretrained(folder)
    outputs = model.eval()(**processor([Image.new("RGB", (128, 128))], return_tensors="pt"))
    assert outputs.logits.shape[-1] == 129
    assert model.config.id2label[0] == load_emoji_scenes("test", 8).features["objects"].feature["category_id"].names[0]
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert set(metrics) == {"test", "test_style"}
    assert 0 <= metrics["test_style"]["test_style_mAP50"] <= 1
    assert any(name.startswith("test_AP/") for name in metrics["test"])
    assert Image.open(folder / "detections.png").size[1] > 900
    assert "test: mAP50" in printed
    assert "AP/" not in printed


def test_parts_of_the_loss_are_logged_and_add_up(trained):
    logs = json.loads((trained[0] / "trainer_state.json").read_text("utf-8"))["log_history"]
    log = next(log for log in logs if "loss" in log)
    parts = [value for name, value in log.items() if name.startswith("loss_")]
    assert len(parts) == 5
    assert sum(parts) == pytest.approx(log["loss"], rel=1e-3)


def test_other_boxes_names_and_images_are_refused_by_a_resumed_run(small_recipe, own_file, tmp_path):
    command = [small_recipe, *SMOKE, "--data", str(own_file), "--max_bad_fraction", "0.3", "--max_steps", "1"]
    command += ["--save_strategy", "steps", "--save_steps", "1", "--output_dir", str(tmp_path / "out"), "--resume"]
    folder = main(command)
    assert_opens_like(folder / "checkpoint-1", folder)
    names = [f"class {index}" for index in range(16)], [f"attribute {index}" for index in range(4)]
    started, _ = build_detector(DetectorArguments(init_from=str(folder / "checkpoint-1")), *names)
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, started.state_dict()[name]) for name, value in saved.items())
    whole = json.loads(own_file.read_text("utf-8"))
    moved, named = copy.deepcopy(whole), copy.deepcopy(whole)
    moved["annotations"][3]["bbox"][0] += 1
    named["categories"][5]["name"] = "teapot"
    for content, message in ((moved, "data differs"), (named, r"model\.id2label differs")):
        own_file.write_text(json.dumps(content), "utf-8")
        with pytest.raises(ValueError, match=f"checkpoint-1 was trained otherwise: {message}"):
            main(command)
    own_file.write_text(json.dumps(whole), "utf-8")
    Image.new("RGB", (128, 128), "red").save(own_file.parent / "2.png")
    with pytest.raises(ValueError, match=r"otherwise: data\.images differs\. "):
        main(command)


@pytest.mark.slow
def test_resume_goes_on_from_the_checkpoint_and_gives_the_same_model(small_recipe, tmp_path, capsys):
    options = ["--save_strategy", "steps", "--save_steps", "1", "--output_dir", str(tmp_path / "out")]
    command = [small_recipe, *SMOKE, *options]
    folder = main(command)
    whole = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "checkpoint-2")
    (folder / "model.safetensors").unlink()
    main([*command, "--resume"])
    assert f"Continues from {folder}/checkpoint-1." in capsys.readouterr().out
    assert (folder / "model.safetensors").read_bytes() == whole


def test_own_boxes_and_attributes_train_the_visual_genome_recipe_at_tiny_width(own_file, tmp_path, capsys):
    sizes = {"depth": 50, "stem_channels": 4, "bottleneck_channels": 4, "res2_channels": 16, "rpn_channels": 8}
    sizes |= {"attribute_embedding_dim": 8, "attribute_hidden_dim": 8, "roi_batch_size": 8}
    changes = {"image_weights": None, "image_processor": {"size": {"shortest_edge": 64, "longest_edge": 100}}}
    recipe = write_recipe(tmp_path / "small.yaml", "detector_vg", model_config=sizes, **changes)
    data = ["--data", str(own_file), "--test_data", str(own_file), "--max_bad_fraction", "0.3"]
    folder = main([recipe, *SMOKE, *data, "--output_dir", str(tmp_path / "out")])
    extractor = RegionFeatureExtractor.from_pretrained(folder)
    regions = extractor.extract([Image.new("RGB", (90, 70))], min_boxes=2)
    assert regions.features.shape[-1] == 128
    assert extractor.config.id2label[3] == "class 3"
    assert extractor.config.attribute_names[3] == "attribute 3"
    assert (regions.attribute_ids < 4).all()
    assert "1 x truncated" in capsys.readouterr().out
    assert set(json.loads((folder / "metrics.json").read_text("utf-8"))) == {"test"}


def test_true_boxes_are_judged_in_pixels_of_the_original(small_recipe, tmp_path):
    model_args, data_args, *_, args = parse_recipe(ARGUMENTS, [small_recipe, "--output_dir", str(tmp_path), *SMOKE])
    data = load_training_data(data_args, 0)
    model, processor = build_detector(model_args, data.class_names, data.attribute_names)
    processor.size = {"shortest_edge": 192, "longest_edge": 192}
    trainer = DetectorTrainer(model, args, processing_class=processor)
    rows = [DetectionRows(data.dataset)[index] for index in range(2)]
    model.eval()
    loss, found, targets = trainer.prediction_step(model, DetectionCollator(processor)(rows), False)
    assert loss > 0
    assert len(found) == 2
    for target, row in zip(targets, rows, strict=True):
        x, y, width, height = torch.tensor([item["bbox"] for item in row["objects"]]).T
        torch.testing.assert_close(target["boxes"], torch.stack([x, y, x + width, y + height], dim=1))
        assert target["labels"].tolist() == [item["category_id"] for item in row["objects"]]


def test_last_batch_is_judged_even_where_training_drops_it(small_recipe, tmp_path):
    options = ["--output_dir", str(tmp_path), *SMOKE, "--dataloader_drop_last", "true"]
    options += ["--per_device_train_batch_size", "3"]
    model_args, data_args, *_, args = parse_recipe(ARGUMENTS, [small_recipe, *options])
    model, _ = build_detector(model_args, ["x"] * 128, [])
    rows = load_test_data(data_args, load_training_data(data_args, 0))["test"]
    trainer = DetectorTrainer(model, args, train_dataset=rows, eval_dataset=rows, data_collator=list)
    assert [len(batch) for batch in trainer.get_eval_dataloader()] == [8]
    assert [len(batch) for batch in trainer.get_train_dataloader()] == [3, 3]


def test_evaluation_leaves_bad_images_out_and_fails_where_they_are_too_many(small_recipe, own_file, tmp_path):
    options = ["--data", str(own_file), "--output_dir", str(tmp_path), *SMOKE, "--per_device_eval_batch_size", "1"]
    model_args, data_args, *_, args = parse_recipe(ARGUMENTS, [small_recipe, *options, "--max_bad_fraction", "0.2"])
    data = load_training_data(data_args, 0)
    model, processor = build_detector(model_args, data.class_names, data.attribute_names)
    collator = DetectionCollator(processor)
    trainer = DetectorTrainer(
        model,
        args,
        eval_dataset=DetectionRows(data.dataset),
        data_collator=collator,
        processing_class=processor,
        callbacks=[OutcomeGuard([collator.bad_rows], 0.2, NonFiniteGuard())],
    )
    (tmp_path / "1.png").unlink()  # a batch of its own
    assert "eval_mAP" in trainer.evaluate()
    for number in (2, 3):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(TooManyBadRowsError, match=r"kept 3 of 6(?s:.*)left out 3 x left out of the evaluation"):
        trainer.evaluate()


def test_resume_without_a_valid_checkpoint_is_refused(small_recipe, tmp_path):
    (tmp_path / "out" / "checkpoint-7").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"checkpoint-7: it has no manifest\.json"):
        main([small_recipe, *SMOKE, "--output_dir", str(tmp_path / "out"), "--resume"])


@pytest.mark.slow
def test_detector_learns_the_classes_and_nothing_of_shuffled_ones(small_recipe, tmp_path):
    options = ["--scenes", "60", *SMOKE, "--max_steps", "60", "--per_device_train_batch_size", "6"]
    metrics = {}
    for shuffled in ("false", "true"):
        folder = main([small_recipe, *options, "--shuffle_labels", shuffled, "--output_dir", str(tmp_path / shuffled)])
        metrics[shuffled] = json.loads((folder / "metrics.json").read_text("utf-8"))["test"]["test_mAP50"]
    assert metrics["false"] > 0.5
    assert metrics["true"] < 0.1
