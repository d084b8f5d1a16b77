import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.regions.golden import BOXES, golden_detector, read_tensors
from PIL import Image
from transformers import AutoModel, AutoProcessor
from typer.testing import CliRunner
from wenlan.modeling_region_detector import RegionImageProcessor
from wenlan.pipelines import embed_images
from wenlan.processing.regions import RegionFeatureExtractor, find_brivl_boxes
from wenlan.retrieval import embed_to_parquet

from wenlan.cli.main import app


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory):
    """A tiny detector with bottom-up attention's rules and the weights of the golden run."""
    folder = tmp_path_factory.mktemp("detector")
    golden_detector("bua").save_pretrained(folder)
    RegionImageProcessor(size={"shortest_edge": 160, "longest_edge": 267}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def detector(detector_folder):
    return RegionFeatureExtractor.from_pretrained(detector_folder)


@pytest.fixture(scope="module")
def brivl_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brivl")
    save_tiny_folder(folder)
    return folder


@pytest.fixture(scope="module")
def brivl(brivl_folder):
    return AutoModel.from_pretrained(brivl_folder).eval(), AutoProcessor.from_pretrained(brivl_folder)


@pytest.fixture(scope="module")
def images():
    golden = read_tensors("bua")
    return [Image.fromarray(golden[f"image{index}.image_bgr_u8"].flip(-1).numpy()) for index in (0, 1)]


@pytest.fixture
def photo_folder(images, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(images):
        image.save(folder / f"{index}.png")
    return folder


def test_boxes_equal_those_that_the_original_extractor_gives_brivl(detector, images):
    golden = read_tensors("bua")
    for index, boxes in enumerate(find_brivl_boxes(detector, images, max_boxes=14)):
        torch.testing.assert_close(boxes, golden[f"image{index}.mode2.bbox"], atol=BOXES, rtol=0)


def test_best_boxes_are_the_first_of_more(detector, images):
    few, many = (find_brivl_boxes(detector, images, max_boxes=count) for count in (3, 14))
    for fewer, more in zip(few, many, strict=True):
        torch.testing.assert_close(fewer, more[:3], atol=1e-4, rtol=0)


def test_boxes_without_an_area_are_left_out(detector, images, monkeypatch):
    found = detector.extract(images, region_boxes="refined", min_boxes=0, max_boxes=5)
    found.boxes = found.boxes.clone()
    found.boxes[0, 1, 2] = found.boxes[0, 1, 0]
    monkeypatch.setattr(detector, "extract", lambda *args, **kwargs: found)
    assert torch.equal(find_brivl_boxes(detector, images)[0], found.boxes[0, [0, 2, 3, 4]])


def test_embeddings_with_a_detector_equal_those_of_its_boxes(brivl, detector, images):
    model, processor = brivl
    boxes = find_brivl_boxes(detector, images, max_boxes=4)
    batch = processor(images=images, boxes=boxes, return_tensors="pt")
    assert batch["box_mask"].sum(dim=1).tolist() == [5, 5]  # four boxes and the whole image
    with torch.inference_mode():
        expected = model(**batch).image_embeds
    embeddings = embed_images(model, processor, images, detector=detector)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)
    assert (embeddings - embed_images(model, processor, images)).abs().max() > 1e-3  # the grid is something else


def test_batches_and_files_give_the_same_embeddings(brivl, detector, images, photo_folder):
    expected = embed_images(*brivl, images, detector=detector)
    one_by_one = embed_images(*brivl, sorted(photo_folder.iterdir()), detector=detector, batch_size=1)
    torch.testing.assert_close(one_by_one, expected, atol=1e-5, rtol=0)


def whole_image_alone(brivl, image):
    model, processor = brivl
    batch = processor(images=[image], boxes=[np.zeros((0, 4))], return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).image_embeds


def test_image_too_small_for_a_proposal_is_seen_whole(brivl, detector):
    dot = Image.new("RGB", (9, 9), "red")  # proposals are larger than 16 pixels
    assert [len(boxes) for boxes in find_brivl_boxes(detector, [dot])] == [0]
    embedding = embed_images(*brivl, [dot], detector=detector)
    torch.testing.assert_close(embedding, whole_image_alone(brivl, dot), atol=1e-6, rtol=0)


def test_no_box_above_the_threshold_leaves_the_whole_image(brivl, detector, images):
    model, processor = brivl
    boxes = find_brivl_boxes(detector, images, min_score=1.0)
    assert [len(array) for array in boxes] == [0, 0]
    batch = processor(images=images, boxes=boxes, return_tensors="pt")
    with torch.inference_mode():
        embeddings = model(**batch).image_embeds
    torch.testing.assert_close(embeddings[:1], whole_image_alone(brivl, images[0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("mode", "size"),
    [("RGB", (1, 1)), ("RGB", (10_000, 40)), ("RGB", (40, 10_000)), ("L", (50, 40)), ("CMYK", (50, 40))],
)
def test_odd_images_are_embedded(brivl, detector, mode, size):
    embedding = embed_images(*brivl, [Image.new(mode, size)], detector=detector)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(1))


def test_embed_command_looks_at_the_boxes_of_a_detector(brivl, detector, brivl_folder, detector_folder, photo_folder):
    (photo_folder / "bad.jpg").write_bytes(b"")
    output = photo_folder.parent / "photos.parquet"
    arguments = ["embed", str(brivl_folder), str(photo_folder), "--output", str(output)]
    options = ["--detector", str(detector_folder), "--max-bad-fraction", "0.5"]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    assert "2 embeddings" in result.output
    assert "1 x empty file" in result.output
    embeddings = torch.tensor(pq.read_table(output)["embedding"].to_pylist())
    expected = embed_images(*brivl, sorted(photo_folder.glob("*.png")), detector=detector)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)


def test_detector_for_sentences_is_refused(brivl_folder, detector_folder, tmp_path):
    (tmp_path / "texts.txt").write_text("猫\n", "utf-8")
    with pytest.raises(ValueError, match="a file of sentences"):
        embed_to_parquet(
            str(brivl_folder), tmp_path / "texts.txt", tmp_path / "x.parquet", detector=str(detector_folder)
        )
