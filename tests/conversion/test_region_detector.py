import pickle

import numpy as np
import pytest
import torch
import yaml
from helpers.regions.golden import FEATURES, read_config, read_tensors, read_weights, relative_difference
from PIL import Image
from typer.testing import CliRunner
from wenlan.conversion.region_detector import build_image_processor, check_folder, convert_regions, read_names
from wenlan.modeling_region_detector import RegionDetector, RegionImageProcessor

from wenlan.cli.main import app

CASES = ("bua", "d2_c4", "d2_fpn")


def write_config(folder, case):
    path = folder / f"{case}.yaml"
    path.write_text(yaml.safe_dump(read_config(case)["cfg"]))
    return path


def convert(folder, case, weights=None, **options):
    torch.save({"model": read_weights(case) if weights is None else weights}, folder / f"{case}.pth")
    options = {"preset": case.replace("_", "-"), "config_file": write_config(folder, case)} | options
    return convert_regions(folder / f"{case}.pth", folder / "out", **options)


@pytest.fixture(scope="module", params=CASES)
def converted(request, tmp_path_factory):
    return request.param, convert(tmp_path_factory.mktemp("converted"), request.param)


def test_folder_holds_detector_and_image_processor_without_pickles(converted):
    _, folder = converted
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }


def test_converted_detector_gives_the_golden_features(converted):
    case, folder = converted
    tensors = read_tensors(case)
    model, processor = RegionDetector.from_pretrained(folder), RegionImageProcessor.from_pretrained(folder)
    if case == "bua":  # the original ran with these sides, which its configuration does not say
        size = {
            "shortest_edge": read_config(case)["test_scales"][0],
            "longest_edge": read_config(case)["test_max_size"],
        }
        image, boxes = tensors["image0.image_bgr_u8"], tensors["image0.mode3.boxes_resized"]
        boxes, expected = boxes / tensors["image0.im_scale"].item(), tensors["image0.mode3.x"]
        inputs = processor(Image.fromarray(image.flip(-1).numpy()), size=size, return_tensors="pt")
        with torch.no_grad():
            features = model(**inputs, boxes=[boxes.float()]).features[0]
        assert relative_difference(features, expected) < FEATURES
        return
    images = [Image.fromarray(tensors[f"image_bgr_u8.{i}"].flip(-1).numpy()) for i in range(2)]
    with torch.no_grad():
        output = model(**processor(images, return_tensors="pt"))
    logits = torch.cat([output.logits[i, : len(tensors[f"proposals.{i}"])] for i in range(2)])
    # From image to logits the rounding of the original itself shows: in float64 ours differs from it by 1.3e-5.
    assert relative_difference(logits, tensors["cls_logits"]) < 3 * FEATURES


def test_names_of_classes_and_attributes_are_in_the_configuration(tmp_path):
    (tmp_path / "classes.txt").write_text("__background__\n" + "\n".join(f"物{i}" for i in range(8)) + "\n", "utf-8")
    (tmp_path / "attributes.txt").write_text("red\ngreen\nblue\nbig\nsmall", "utf-8")
    names = {"class_names": tmp_path / "classes.txt", "attribute_names": tmp_path / "attributes.txt"}
    config = RegionDetector.from_pretrained(convert(tmp_path, "bua", **names)).config
    assert (config.id2label[7], config.label2id["物0"]) == ("物7", 0)
    assert config.attribute_names == ["red", "green", "blue", "big", "small"]


@pytest.mark.parametrize("text", ["a\nb", "a\n\nc", "a\nb\nc\nd", ""])
def test_list_with_another_number_of_names_is_refused(text, tmp_path):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match="the detector needs 3, one a line: --class-names"):
        read_names(tmp_path / "names.txt", 3, "--class-names")


def test_list_of_names_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes("猫\n狗".encode("gb18030"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_names(tmp_path / "names.txt", 2, "--class-names")


def test_summary_says_what_was_done_and_what_comes_next(tmp_path, capsys):
    convert(tmp_path, "bua")
    printed = capsys.readouterr().out
    assert "parameters for 8 classes and 5 attributes" in printed
    assert "53 of batch counters, 1 of cell anchors" in printed
    assert f"--model {tmp_path / 'out'}" in printed


def test_pickle_of_the_model_zoo_is_converted(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in read_weights("d2_fpn").items()}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "zoo"}, 2))
    options = {"preset": "d2-fpn", "config_file": write_config(tmp_path, "d2_fpn")}
    folder = convert_regions(tmp_path / "model_final.pkl", tmp_path / "out", **options)
    state = RegionDetector.from_pretrained(folder).state_dict()
    assert all(np.array_equal(array, state[name].numpy()) for name, array in arrays.items())


def test_damaged_weights_are_named_and_leave_nothing(tmp_path):
    weights = read_weights("d2_c4")
    weights["roi_heads.res5.0.conv1.weight"][0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"d2_c4\.pth: the weights are damaged.*roi_heads\.res5\.0\.conv1\.weight"):
        convert(tmp_path, "d2_c4", weights)
    assert {path.name for path in tmp_path.iterdir()} == {"d2_c4.pth", "d2_c4.yaml"}


def test_check_notices_that_the_folder_holds_other_weights(converted):
    _, folder = converted
    model, processor = RegionDetector.from_pretrained(folder), RegionImageProcessor.from_pretrained(folder)
    proposals = model.config.post_nms_top_n
    check_folder(folder, model, processor)
    assert model.config.post_nms_top_n == proposals
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias += 1
    with pytest.raises(ValueError, match="logits of a made-up image differ"):
        check_folder(folder, model, processor)


def test_scale_of_the_pixels_in_the_checkpoint_must_be_the_one_used():
    weights = {"pixel_mean": torch.tensor([103.53, 116.28, 123.675]), "pixel_std": torch.ones(3, 1, 1)}
    assert build_image_processor("d2-c4", {}, weights).image_std == (1, 1, 1)
    weights["pixel_std"] = torch.tensor([57.375, 57.12, 58.395]).view(3, 1, 1)
    with pytest.raises(ValueError, match=r"pixel_std is \[57.*pass its --config"):
        build_image_processor("d2-c4", {}, weights)


def test_folder_that_holds_something_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        convert(tmp_path, "d2_c4")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def command(folder, *options):
    arguments = ["convert", "regions", "--output", str(folder / "out"), *map(str, options)]
    return CliRunner().invoke(app, arguments)


def test_command_writes_a_folder_that_finds_regions(tmp_path):
    torch.save(read_weights("d2_c4"), tmp_path / "a.pth")
    config = write_config(tmp_path, "d2_c4")
    result = command(tmp_path, "--checkpoint", tmp_path / "a.pth", "--preset", "d2-c4", "--config", config)
    assert result.exit_code == 0, result.output
    model, processor = (part.from_pretrained(tmp_path / "out") for part in (RegionDetector, RegionImageProcessor))
    with torch.no_grad():
        output = model(**processor(Image.new("RGB", (80, 60), "red"), return_tensors="pt"))
    assert output.features.shape[-1] == 128


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "lxmert"], "lxmert needs --config"),
        (["--preset", "c4"], "Unknown preset 'c4'"),
        (["--preset", "bua", "--config", "no.yaml"], "No such configuration file: no.yaml"),
        (["--preset", "d2-c4", "--class-names", "no.txt"], "No such file of names: no.txt"),
        (["--preset", "d2-fpn"], "has no feature pyramid"),
    ],
)
def test_command_says_what_is_wrong_in_one_line_and_writes_nothing(options, message, tmp_path):
    torch.save(read_weights("d2_c4"), tmp_path / "a.pth")
    result = command(tmp_path, "--checkpoint", tmp_path / "a.pth", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.pth"}
