"""The detectron2 backend with a real detectron2 on the golden weights."""

import importlib
import json
import pickle
import subprocess
import sys

import pytest
import torch
import yaml
from helpers.regions.fetch_detectron2 import NAME, fetch, give_up, unpack
from helpers.regions.golden import (
    BOXES,
    FEATURES,
    SCORES,
    golden_detector,
    read_config,
    read_tensors,
    read_weights,
    relative_difference,
)
from PIL import Image
from safetensors.torch import save_file
from wenlan.modeling_region_detector import RegionDetectorConfig, RegionImageProcessor
from wenlan.processing.regions.feature_extractor import RegionFeatureExtractor, _Proposals

CASES = ("d2_c4", "d2_fpn")


@pytest.fixture(scope="module")
def archive(request):
    try:
        return fetch(request.config.cache.mkdir("detectron2"))
    except (subprocess.TimeoutExpired, OSError) as error:
        give_up(f"detectron2 could not be fetched from the package index: {error}")


@pytest.fixture(scope="module")
def backend(archive, tmp_path_factory):
    """The module of the backend, with detectron2 on the path until the tests of this file are done."""
    folder = unpack(archive, tmp_path_factory.mktemp("detectron2"))
    sys.path.insert(0, str(folder))
    backend = importlib.import_module("wenlan.processing.regions.detectron2_interop.backend")
    try:
        backend.ensure_detectron2_importable()
    except ImportError as error:
        give_up(str(error))
    yield backend
    sys.path.remove(str(folder))


def images(case):
    tensors = read_tensors(case)
    return [Image.fromarray(tensors[f"image_bgr_u8.{i}"].flip(-1).numpy()) for i in range(2)]


def golden_batch(case, divisibility):
    """The two resized images of a golden case in one padded batch, as the golden run had them."""
    tensors, cfg = read_tensors(case), read_config(case)["cfg"]["MODEL"]
    resized = [tensors[f"resized_bgr_u8.{i}"].float() for i in range(2)]
    mean = torch.tensor(cfg["PIXEL_MEAN"])[:, None, None]
    height, width = (-(-max(r.shape[d] for r in resized) // divisibility) * divisibility for d in (1, 2))
    pixels, mask = torch.zeros(2, 3, height, width), torch.zeros(2, height, width, dtype=torch.long)
    scales = torch.zeros(2, 2)
    for i, image in enumerate(resized):
        h, w = image.shape[1:]
        pixels[i, :, :h, :w], mask[i, :h, :w] = image - mean, 1
        scales[i] = torch.tensor([h, w]) / torch.tensor(tensors[f"image_bgr_u8.{i}"].shape[:2])
    return {"pixel_values": pixels, "pixel_mask": mask, "image_scales": scales}


def write_detectron2_folder(folder, case, suffix=".pth"):
    """What a user of detectron2 has: the dumped configuration and the weights."""
    folder.mkdir()
    weights = read_weights(case)
    (folder / "config.yaml").write_text(yaml.safe_dump(read_config(case)["cfg"]))
    if suffix == ".pth":
        torch.save({"model": weights, "iteration": 90000}, folder / "model_final.pth")
    elif suffix == ".pkl":
        arrays = {name: tensor.numpy() for name, tensor in weights.items()}
        (folder / "model_final.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "zoo"}))
    else:
        save_file(weights, folder / "model.safetensors")
    return folder


def write_our_folder(folder, case):
    golden_detector(case).save_pretrained(folder)
    sizes = read_config(case)["cfg"]["INPUT"]
    size = {"shortest_edge": sizes["MIN_SIZE_TEST"], "longest_edge": sizes["MAX_SIZE_TEST"]}
    RegionImageProcessor.from_variant(case.replace("_", "-"), {"size": size}).save_pretrained(folder)
    return folder


def assert_same_regions(found, expected):
    """The native detector folds its batch norms, which moves the last bits, and through the proposals the features."""
    assert torch.equal(found.attention_mask, expected.attention_mask)
    assert torch.equal(found.object_ids, expected.object_ids)
    assert torch.equal(found.image_sizes, expected.image_sizes)
    assert found.background_index == expected.background_index
    torch.testing.assert_close(found.boxes, expected.boxes, atol=BOXES, rtol=0)
    torch.testing.assert_close(found.object_scores, expected.object_scores, atol=5e-5, rtol=0)
    torch.testing.assert_close(found.class_probs, expected.class_probs, atol=5e-5, rtol=0)
    assert relative_difference(found.features, expected.features) < 3 * FEATURES


@pytest.mark.parametrize("case", CASES)
def test_real_detectron2_gives_the_golden_detections(case, backend):
    tensors = read_tensors(case)
    model = backend.Detectron2Model(read_config(case)["cfg"], read_weights(case)).eval()
    extractor = RegionFeatureExtractor(model, backend.build_image_processor(model), model_hash="golden")
    divisibility = model.detector.backbone.size_divisibility or 1
    with torch.no_grad():
        output = model(**golden_batch(case, divisibility))
    first = 0
    for i in range(2):
        regions = extractor._choose(_Proposals.of(output, i), "detections", 0, 20, 0.3)
        kept = tensors[f"det_proposal_index.{i}"]
        torch.testing.assert_close(regions.boxes, tensors[f"det_boxes_original.{i}"], atol=BOXES, rtol=0)
        torch.testing.assert_close(regions.object_scores, tensors[f"det_scores.{i}"], atol=SCORES, rtol=0)
        assert torch.equal(regions.object_ids, tensors[f"det_classes.{i}"])
        assert relative_difference(regions.features, tensors["box_features"][first + kept]) < FEATURES
        first += int(output.proposal_mask[i].sum())


@pytest.mark.parametrize("case", CASES)
def test_images_are_prepared_as_detectron2_does(case, backend):
    from detectron2.data.transforms import ResizeShortestEdge

    model = backend.Detectron2Model(read_config(case)["cfg"], read_weights(case))
    image, sizes = images(case)[0], model.cfg.INPUT
    pixels = read_tensors(case)["image_bgr_u8.0"].numpy().copy()
    resize = ResizeShortestEdge([sizes.MIN_SIZE_TEST] * 2, sizes.MAX_SIZE_TEST).get_transform(pixels)
    resized = torch.tensor(resize.apply_image(pixels)).permute(2, 0, 1)
    expected = model.detector.preprocess_image([{"image": resized.float()}])
    inputs = backend.build_image_processor(model)(image, return_tensors="pt")
    torch.testing.assert_close(inputs["pixel_values"], expected.tensor, atol=1e-5, rtol=0)


@pytest.mark.parametrize("region_boxes", ["detections", "proposals"])
@pytest.mark.parametrize("case", CASES)
def test_folder_of_detectron2_gives_what_the_native_detector_gives(case, region_boxes, backend, tmp_path):
    native = RegionFeatureExtractor.from_pretrained(write_our_folder(tmp_path / "ours", case))
    real = RegionFeatureExtractor.from_pretrained(write_detectron2_folder(tmp_path / "d2", case), backend="detectron2")
    assert type(real.model) is backend.Detectron2Model
    choice = {"min_boxes": 3, "max_boxes": 12, "conf_threshold": 0.3, "region_boxes": region_boxes}
    assert_same_regions(real.extract(images(case), **choice), native.extract(images(case), **choice))


@pytest.mark.parametrize("case", CASES)
def test_given_boxes_get_the_features_of_the_native_detector(case, backend, tmp_path):
    native = RegionFeatureExtractor.from_pretrained(write_our_folder(tmp_path / "ours", case))
    real = RegionFeatureExtractor.from_pretrained(write_detectron2_folder(tmp_path / "d2", case), backend="detectron2")
    boxes = [torch.tensor([[3.0, 4.0, 40.5, 60.0], [0.0, 0.0, 20.0, 20.0]]), torch.zeros(0, 4)]
    assert_same_regions(real.extract(images(case), boxes), native.extract(images(case), boxes))


@pytest.mark.parametrize("case", CASES)
def test_our_folder_runs_in_detectron2_too(case, backend, tmp_path):
    folder = write_our_folder(tmp_path / "ours", case)
    native = RegionFeatureExtractor.from_pretrained(folder)
    real = RegionFeatureExtractor.from_pretrained(folder, backend="detectron2")
    assert real.config.to_diff_dict() == native.config.to_diff_dict()
    assert_same_regions(real.extract(images(case)), native.extract(images(case)))


@pytest.mark.parametrize("case", CASES)
def test_our_weights_load_into_detectron2_as_they_are(case, backend):
    model = backend.Detectron2Model(read_config(case)["cfg"], read_weights(case))
    ours = {name: tensor + 1 for name, tensor in golden_detector(case).state_dict().items()}
    model.detector.load_state_dict(ours, strict=True)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in model.detector.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
def test_weights_of_each_kind_are_read(suffix, backend, tmp_path):
    folder = write_detectron2_folder(tmp_path / "d2", "d2_fpn", suffix)
    extractor = RegionFeatureExtractor.from_pretrained(folder, backend="detectron2")
    state = extractor.model.detector.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in read_weights("d2_fpn").items())


def test_configuration_says_the_classes_and_the_width(backend):
    config = backend.Detectron2Model(read_config("d2_fpn")["cfg"], read_weights("d2_fpn")).config
    assert (config.num_objects, config.background_index, config.feature_dim) == (7, 7, 32)
    assert (config.region_boxes, config.selection_nms_threshold, config.post_nms_top_n) == ("detections", 0.5, 40)


def test_hash_tells_weights_and_configurations_apart(backend):
    cfg, weights = read_config("d2_c4")["cfg"], read_weights("d2_c4")
    first = backend.Detectron2Model(cfg, weights).model_hash
    assert backend.Detectron2Model(cfg, weights).model_hash == first
    other_cfg = {**cfg, "INPUT": {**cfg["INPUT"], "MIN_SIZE_TEST": 161}}
    other = {**weights, "backbone.stem.conv1.weight": weights["backbone.stem.conv1.weight"] + 1}
    assert len({first, *(backend.Detectron2Model(*p).model_hash for p in ((other_cfg, weights), (cfg, other)))}) == 3


def changed(case, path, value):
    """The configuration of a golden case with one setting changed."""
    cfg = read_config(case)["cfg"]
    *sections, last = path.split(".")
    section = cfg
    for name in sections:
        section = section[name]
    section[last] = value
    return cfg


def test_cascade_is_refused(backend):
    cfg = changed("d2_fpn", "MODEL.ROI_HEADS.NAME", "CascadeROIHeads")
    cfg["MODEL"]["ROI_BOX_HEAD"]["CLS_AGNOSTIC_BBOX_REG"] = True
    with pytest.raises(ValueError, match="CascadeROIHeads: region features come from"):
        backend.Detectron2Model(cfg, read_weights("d2_fpn"))


def test_part_of_an_extension_is_named(backend):
    with pytest.raises(ValueError, match=r"does not know a part of this configuration.*GeneralizedBUARCNN"):
        backend.Detectron2Model(changed("d2_c4", "MODEL.META_ARCHITECTURE", "GeneralizedBUARCNN"), {})


def test_weights_of_another_size_are_all_named(backend):
    weights = read_weights("d2_c4")
    del weights["proposal_generator.rpn_head.conv.bias"]
    cfg = changed("d2_c4", "MODEL.ROI_HEADS.NUM_CLASSES", 9)
    with pytest.raises(ValueError, match=r"missing: .*conv\.bias(.|\n)*cls_score\.weight is \(8, 128\).*\(10, 128\)"):
        backend.Detectron2Model(cfg, weights)


def test_box_head_shared_by_all_classes_gives_boxes_for_each(backend):
    cfg = changed("d2_c4", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True)
    weights = read_weights("d2_c4")
    for name in ("weight", "bias"):
        key = f"roi_heads.box_predictor.bbox_pred.{name}"
        weights[key] = weights[key][:4]
    model = backend.Detectron2Model(cfg, weights).eval()
    with torch.no_grad():
        output = model(**golden_batch("d2_c4", 1))
    assert output.pred_boxes.shape[2] == 7
    assert torch.equal(output.pred_boxes[:, :, 0], output.pred_boxes[:, :, 6])


@pytest.mark.parametrize("files", [["config.yaml"], ["config.yaml", "a.pth", "b.pkl"], ["a.pth"]])
def test_folder_without_the_two_files_is_refused(files, backend, tmp_path):
    for name in files:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"one file of weights|has no config\.yaml"):
        RegionFeatureExtractor.from_pretrained(tmp_path, backend="detectron2")


def test_functions_that_were_not_compiled_say_so_when_called(backend):
    from detectron2 import _C

    with pytest.raises(NotImplementedError, match="needs its compiled function nms_rotated"):
        _C.nms_rotated(1, 2)


def test_caffe_detector_is_not_exported(backend):
    processor = RegionImageProcessor()
    with pytest.raises(ValueError, match=r"plus_one is True.*resize_style of the images is 'opencv'"):
        backend.to_detectron2(RegionDetectorConfig(), processor)


def test_archive_with_another_hash_is_refused(archive, tmp_path):
    other = tmp_path / f"{NAME}.tar.gz"
    other.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="not what was checked"):
        unpack(other, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


def test_download_with_another_hash_is_refused(archive, tmp_path):
    with pytest.raises(ValueError, match="DO NOT MATCH THE HASHES"):
        fetch(tmp_path, "--no-index", "--find-links", str(archive.parent), sha256="0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]


@pytest.mark.parametrize("name", ["CI", "WENLAN_CI"])
def test_where_the_tests_decide_a_missing_detectron2_is_a_failure(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    with pytest.raises(pytest.fail.Exception, match="no network"):
        give_up("no network")


def test_elsewhere_a_missing_detectron2_is_skipped(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("WENLAN_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network"):
        give_up("no network")


def look_at_import(folder, files):
    """Returns, from another process, what making detectron2 importable did there."""
    package = folder / "detectron2"
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text)
    code = (
        "import json, sys\n"
        "from wenlan.processing.regions.detectron2_interop.import_shim import ensure_detectron2_importable\n"
        "from PIL import Image\n"
        "try:\n    ensure_detectron2_importable(); error = ''\n"
        "except ImportError as e:\n    error = str(e)\n"
        "stub = type(sys.modules.get('detectron2._C')).__name__\n"
        "print(json.dumps([error, stub, hasattr(Image, 'LINEAR')]))"
    )
    environment = {"PYTHONPATH": str(folder), "PATH": ""}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_compiled_detectron2_is_left_as_it_is(tmp_path):
    error, stub, has_linear = look_at_import(tmp_path, {"__init__.py": "", "_C.py": "", "modeling.py": ""})
    assert (error, stub, has_linear) == ("", "NoneType", False)


def test_without_the_compiled_part_it_is_replaced(tmp_path):
    error, stub, has_linear = look_at_import(tmp_path, {"__init__.py": "", "modeling.py": "from detectron2 import _C"})
    assert (error, stub, has_linear) == ("", "_NotCompiled", True)


def test_missing_package_of_detectron2_is_named(tmp_path):
    error, *_ = look_at_import(tmp_path, {"__init__.py": "", "modeling.py": "import fvcore_that_is_missing"})
    assert error == "detectron2 needs fvcore_that_is_missing: pip install 'wenlan[detectron2-helpers]'"


def test_folder_that_only_has_the_name_says_how_to_get_detectron2(tmp_path):
    error, *_ = look_at_import(tmp_path, {})
    assert "git+https://github.com/facebookresearch/detectron2" in error
