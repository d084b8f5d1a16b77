import numpy as np
import pytest
import timm
import torch
from helpers.brivl.tiny_folder import save_tiny_folder
from helpers.image_folder import write_image_folder
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from wenlan.data.rows.report import TooManyBadRowsError
from wenlan.evaluation.probe.features import LAYERS, extract_features, open_tower
from wenlan.evaluation.probe.image_sets import LabelledImages, read_image_sets
from wenlan.pipelines.embedding import embed_images
from wenlan.pipelines.open_brivl import open_brivl

RANDOM = "timm:test_efficientnet:random"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brivl") / "model"
    save_tiny_folder(folder)
    return str(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = write_image_folder(tmp_path_factory.mktemp("images") / "all")
    return read_image_sets(folder, folder)[0]


def features(name, images, layers=LAYERS, *, seed=None, batch_size=5):
    return extract_features(open_tower(name, layers, random_seed=seed, device="cpu"), images, batch_size=batch_size)


def test_embeddings_are_those_that_are_compared_with_texts(model, images):
    found = features(model, images, ["embeddings"])
    assert list(found.layers) == ["embeddings"]
    expected = embed_images(*open_brivl(model), images.open()).numpy()
    np.testing.assert_allclose(found.layers["embeddings"], expected, atol=1e-6)
    assert found.labels == list(images.labels)


def test_pooled_features_are_what_is_projected(model, images):
    found = features(model, images).layers
    head = open_brivl(model)[0].vision_model.encoder
    with torch.inference_mode():
        projected = head.fc2(F.relu(head.fc1(torch.from_numpy(found["pooled"]).float())))
    np.testing.assert_allclose(found["embeddings"], F.normalize(projected, dim=-1).numpy(), atol=1e-5)


def test_backbone_features_are_those_that_timm_pools(model, images):
    brivl, processor = open_brivl(model)
    with torch.inference_mode():
        expected = brivl.vision_model.backbone(processor(images=list(images.open()), return_tensors="pt").pixel_values)
    np.testing.assert_allclose(features(model, images).layers["backbone"], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["brivl", "timm"])
def test_batches_do_not_change_features(kind, model, images):
    name = model if kind == "brivl" else RANDOM
    one, all_at_once = (features(name, images, batch_size=size).layers for size in (1, 12))
    for layer in one:
        np.testing.assert_allclose(one[layer], all_at_once[layer], atol=1e-5)


def test_random_tower_follows_its_seed_alone(model, images):
    first, again, other, trained = (features(model, images, seed=seed).layers["pooled"] for seed in (1, 1, 2, None))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, trained)


def test_backbone_of_timm_takes_weights_of_a_file(images, tmp_path):
    torch.manual_seed(7)
    backbone = timm.create_model("test_efficientnet", pretrained=False).eval()
    save_file(backbone.state_dict(), tmp_path / "own.safetensors")
    tower = open_tower(f"timm:test_efficientnet={tmp_path / 'own.safetensors'}", LAYERS, device="cpu")
    assert tower.layers == ("backbone",)
    backbone.reset_classifier(0)
    settings = timm.data.resolve_data_config({}, model=backbone)
    transform = timm.data.create_transform(**settings, is_training=False)
    with torch.inference_mode():
        expected = backbone(torch.stack([transform(Image.open(path).convert("RGB")) for path in images.open()]))
    found = extract_features(tower, images).layers["backbone"]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    random = features(f"timm:test_efficientnet={tmp_path / 'own.safetensors'}", images, seed=0)
    assert not np.allclose(random.layers["backbone"], found)


def test_weights_that_are_not_here_are_told_offline():
    with pytest.raises(
        FileNotFoundError, match=r"weights of test_efficientnet are not on this machine .* timm:test_eff"
    ):
        open_tower("timm:test_efficientnet", LAYERS, device="cpu")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("timm:no_such_net", ValueError, "timm has no backbone 'no_such_net'"),
        ("timm:hf-hub:some/net", ValueError, "timm has no backbone 'hf-hub' with 'some/net'"),
        ("timm:test_efficientnet:trained", ValueError, "timm has no backbone 'test_efficientnet' with 'trained'"),
        ("timm:test_efficientnet=none.pth", FileNotFoundError, r"no file none\.pth with weights"),
    ],
)
def test_wrong_backbone_is_refused(name, error, message):
    with pytest.raises(error, match=message):
        open_tower(name, LAYERS, device="cpu")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no readable checkpoint.*it is empty"),
        (b"hello", "is no readable checkpoint"),
        (bytes(1000), "is no readable checkpoint"),
        ({}, r"own\.safetensors holds no weights; give those of test_efficientnet"),
        ({"other.weight": torch.zeros(3, 3)}, r"own\.safetensors lacks \d+ of \d+ weights, such as conv_stem\.weight"),
    ],
)
def test_file_without_the_weights_is_refused(content, message, tmp_path):
    file = tmp_path / "own.safetensors"
    save_file(content, file) if isinstance(content, dict) else file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_tower(f"timm:test_efficientnet={file}", LAYERS, device="cpu")


def test_file_that_lacks_a_weight_is_refused(tmp_path):
    weights = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    del weights["blocks.1.0.conv_exp.weight"]
    torch.save({"state_dict": {f"module.{name}": one for name, one in weights.items()}}, tmp_path / "own.pth")
    with pytest.raises(ValueError, match=r"own\.pth lacks 1 of \d+ weights, such as blocks\.1\.0\.conv_exp\.weight"):
        open_tower(f"timm:test_efficientnet={tmp_path / 'own.pth'}", LAYERS, device="cpu")


def test_file_that_does_not_fit_is_refused(tmp_path):
    save_file({"conv_stem.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="timm:test_efficientnet: Error"):
        open_tower(f"timm:test_efficientnet={tmp_path / 'other.safetensors'}", LAYERS, device="cpu")


def with_broken(images, broken, count):
    paths = list(images.open())
    everything = [broken] + [paths[number % len(paths)] for number in range(count - 1)]
    return LabelledImages("some", [str(number) for number in range(count)], lambda: iter(everything))


def test_one_of_a_hundred_broken_images_is_left_out_and_counted(images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = features(RANDOM, with_broken(images, tmp_path / "broken.png", 100), batch_size=32)
    assert found.report.counts.total() == 1
    assert found.labels == [str(number) for number in range(1, 100)]
    assert len(found.layers["backbone"]) == 99


def test_more_than_one_in_a_hundred_is_an_error(images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(TooManyBadRowsError, match="More than 1% of the images cannot be decoded"):
        features(RANDOM, with_broken(images, tmp_path / "broken.png", 99), batch_size=32)
