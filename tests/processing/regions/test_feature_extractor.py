import numpy as np
import pytest
import torch
from helpers.regions.golden import BOXES, FEATURES, SCORES, golden_detector, read_tensors, relative_difference
from helpers.regions.tiny_detector import tiny_detector
from PIL import Image
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.processing.regions import RegionFeatureExtractor
from wenlan.processing.regions.feature_extractor import hash_detector

SIZES = {"bua": (160, 267), "d2_c4": (160, 267), "d2_fpn": (128, 171)}


def golden_extractor(case):
    shortest, longest = SIZES[case]
    size = {"shortest_edge": shortest, "longest_edge": longest}
    processor = RegionImageProcessor.from_variant(case.replace("_", "-"), {"size": size})
    return RegionFeatureExtractor(golden_detector(case), processor)


def golden_images(case):
    golden = read_tensors(case)
    names = ["image0.image_bgr_u8", "image1.image_bgr_u8"] if case == "bua" else ["image_bgr_u8.0", "image_bgr_u8.1"]
    return [Image.fromarray(golden[name].flip(-1).numpy()) for name in names]


@pytest.fixture(scope="module")
def extractor():
    return golden_extractor("bua")


def test_images_of_any_kind_give_the_same_regions(extractor, tmp_path):
    image = golden_images("bua")[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    expected, array = extractor.extract([image]), np.array(image)
    for same in (array, array[None] / 255, tmp_path / "turned.png", [Image.open(tmp_path / "turned.png")]):
        found = extractor.extract(same)
        assert torch.equal(found.features, expected.features)
        assert found.image_sizes.tolist() == expected.image_sizes.tolist()


@pytest.mark.parametrize("mode", ["mode1", "mode1_between", "mode1_few"])
def test_regions_of_images_equal_those_of_the_original(extractor, mode):
    golden = read_tensors("bua")
    minimum, maximum, threshold = golden[f"image0.{mode}.min_max_thr"].tolist()
    regions = extractor.extract(golden_images("bua"), None, int(minimum), int(maximum), threshold)
    for index in range(2):
        image = f"image{index}.{mode}"
        count = int(golden[f"{image}.num_bbox"])
        assert regions.attention_mask[index].sum() == count
        assert relative_difference(regions.features[index, :count], golden[f"{image}.x"]) < FEATURES
        assert (regions.boxes[index, :count] - golden[f"{image}.bbox"]).abs().max() < BOXES
        assert torch.equal(regions.object_ids[index, :count], golden[f"{image}.objects_id"])
        assert (regions.object_scores[index, :count] - golden[f"{image}.objects_conf"]).abs().max() < SCORES
        assert torch.equal(regions.attribute_ids[index, :count], golden[f"{image}.attrs_id"])
        assert (regions.attribute_scores[index, :count] - golden[f"{image}.attrs_conf"]).abs().max() < SCORES
        assert regions.image_sizes[index].tolist() == [golden[f"{image}.image_{side}"].item() for side in "hw"]


def test_refined_boxes_for_brivl_equal_those_of_the_original(extractor):
    golden = read_tensors("bua")
    regions = extractor.extract(golden_images("bua"), max_boxes=14, region_boxes="refined")
    for index in range(2):
        assert (regions.boxes[index] - golden[f"image{index}.mode2.bbox"]).abs().max() < BOXES


def test_features_of_given_boxes_equal_those_of_the_original(extractor):
    golden = read_tensors("bua")
    boxes = [golden[f"image{i}.mode3.boxes_resized"] / golden[f"image{i}.im_scale"].float() for i in range(2)]
    regions = extractor.extract(golden_images("bua"), boxes=boxes)
    for index in range(2):
        assert relative_difference(regions.features[index], golden[f"image{index}.mode3.x"]) < FEATURES
        assert (regions.class_probs[index] - golden[f"image{index}.mode3.cls_probs"]).abs().max() < SCORES
        assert (regions.boxes[index] - boxes[index]).abs().max() < BOXES


def test_detections_equal_those_of_detectron2():
    golden = read_tensors("d2_c4")
    extractor = golden_extractor("d2_c4")
    for index, image in enumerate(golden_images("d2_c4")):
        # One at a time: the golden images were padded to one size, which moves the features of the smaller one.
        regions = extractor.extract([image], min_boxes=0, max_boxes=20, conf_threshold=0.3)
        assert regions.object_scores[0].diff().max() <= 0
        assert set(regions.object_ids[0].tolist()) <= set(range(7))
        assert (regions.object_scores[0] > 0.3).all()
        assert regions.boxes[0, :, 2].max() <= golden[f"image_bgr_u8.{index}"].shape[1]


def test_a_batch_gives_the_regions_of_its_images_alone(extractor):
    images = golden_images("bua") + golden_images("bua")
    together = extractor.extract(images, batch_size=2)
    for index, image in enumerate(images):
        alone = extractor.extract([image])
        count = int(together.attention_mask[index].sum())
        assert count == alone.attention_mask.sum()
        torch.testing.assert_close(together.features[index, :count], alone.features[0], rtol=1e-4, atol=1e-4)


def test_rows_beyond_a_images_regions_are_zeros(extractor):
    regions = extractor.extract(golden_images("bua"), boxes=[torch.tensor([[0.0, 0, 50, 50]]), torch.zeros(0, 4)])
    assert regions.attention_mask.tolist() == [[1], [0]]
    assert regions.features[1].abs().max() == 0


@pytest.mark.parametrize("region_boxes", ["proposals", "refined", "detections", "refined_agnostic"])
def test_no_box_above_the_threshold_still_gives_the_least_number(extractor, region_boxes):
    regions = extractor.extract(
        golden_images("bua"), conf_threshold=1.0, min_boxes=3, max_boxes=5, region_boxes=region_boxes
    )
    assert (regions.attention_mask.sum(1) >= 3).all()


def test_no_box_above_the_threshold_can_give_none(extractor):
    regions = extractor.extract(golden_images("bua"), conf_threshold=1.0, min_boxes=0)
    assert regions.attention_mask.sum() == 0
    assert regions.features.shape == (2, 0, 128)


def test_one_box_is_enough(extractor):
    regions = extractor.extract(golden_images("bua"), min_boxes=1, max_boxes=1)
    assert regions.boxes.shape == (2, 1, 4)
    assert regions.attention_mask.tolist() == [[1], [1]]


@pytest.mark.parametrize("size", [(1, 1), (300, 3), (2, 200), (160, 48), (701, 233)])
def test_extreme_sizes_give_regions_inside_the_image(extractor, size):
    regions = extractor.extract([Image.new("RGB", size, "red")], min_boxes=0, conf_threshold=0.0)
    assert regions.features.isfinite().all()
    assert (regions.boxes[0, :, [0, 2]] <= size[0]).all()
    assert (regions.boxes[0, :, [1, 3]] <= size[1]).all()


def test_regions_end_with_the_image_although_its_resized_side_is_rounded_up():
    processor = RegionImageProcessor(size={"shortest_edge": 64, "longest_edge": 100}, plus_one=False)
    regions = RegionFeatureExtractor(tiny_detector("timm"), processor).extract([Image.new("RGB", (161, 51), "red")])
    assert regions.boxes[..., 3].max() == 51


def test_class_probabilities_hold_the_background(extractor):
    regions = extractor.extract(golden_images("bua"))
    torch.testing.assert_close(regions.class_probs.sum(-1), regions.attention_mask.float())
    assert regions.background_index == 0


def test_bfloat16_finds_the_same_boxes(tmp_path):
    golden_detector("bua").save_pretrained(tmp_path)
    golden_extractor("bua").image_processor.save_pretrained(tmp_path)
    half = RegionFeatureExtractor.from_pretrained(tmp_path, dtype=torch.bfloat16)
    regions = half.extract(golden_images("bua"), boxes=[torch.tensor([[3.0, 5, 90, 60]])] * 2)
    expected = golden_extractor("bua").extract(golden_images("bua"), boxes=[torch.tensor([[3.0, 5, 90, 60]])] * 2)
    assert relative_difference(regions.features, expected.features) < 0.05
    assert regions.features.dtype == torch.float32


def test_saved_and_loaded_gives_the_same_regions_and_hash(extractor, tmp_path):
    extractor.model.save_pretrained(tmp_path)
    extractor.image_processor.save_pretrained(tmp_path)
    loaded = RegionFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.model_hash == extractor.model_hash
    regions, expected = loaded.extract(golden_images("bua")), extractor.extract(golden_images("bua"))
    assert torch.equal(regions.attention_mask, expected.attention_mask)
    assert relative_difference(regions.features, expected.features) < FEATURES


@pytest.mark.parametrize(("kind", "expected"), [("timm", "097b07699d9a28b3"), ("bua", "6b97e5ab2e91bd4c")])
@torch.no_grad()
def test_hash_is_that_of_shards_from_older_versions(kind, expected):
    model = tiny_detector(kind)
    for tensor in model.state_dict().values():
        tensor.zero_()
    assert hash_detector(model) == expected


def test_another_weight_gives_another_hash(extractor):
    other = golden_detector("bua")
    other.roi_heads.box_predictor.cls_score.bias.data[0] += 1e-3
    assert RegionFeatureExtractor(other, extractor.image_processor).model_hash != extractor.model_hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "no image"),
        ({"boxes": []}, "0 lists of boxes for 1 images"),
        ({"region_boxes": "best"}, "must be one of proposals"),
        ({"min_boxes": 5, "max_boxes": 3}, "min_boxes=5"),
        ({"conf_threshold": 20}, "probability"),
    ],
)
def test_bad_arguments_are_named(extractor, arguments, message):
    with pytest.raises(ValueError, match=message):
        extractor.extract(**{"images": [Image.new("RGB", (50, 50))]} | arguments)


def test_unknown_backend_is_named(tmp_path):
    with pytest.raises(ValueError, match="native and detectron2"):
        RegionFeatureExtractor.from_pretrained(tmp_path, backend="caffe")
