import numpy as np
import pytest
from helpers.regions.golden import golden_detector, read_tensors
from PIL import Image
from typer.testing import CliRunner
from wenlan.modeling_region_detector import RegionImageProcessor

from wenlan.cli.main import app

run = CliRunner().invoke


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    golden_detector("d2_c4").save_pretrained(folder)
    size = {"shortest_edge": 160, "longest_edge": 213}
    RegionImageProcessor.from_variant("d2-c4", {"size": size}).save_pretrained(folder)
    return folder


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(read_tensors("d2_c4")["image_bgr_u8.0"].flip(-1).numpy()).save(path)
    return path


def test_boxes_are_drawn_and_counted(detector_folder, image, tmp_path):
    output = tmp_path / "new" / "drawn.png"
    arguments = ["draw-regions", str(image), "--model", str(detector_folder), "--output", str(output)]
    result = run(app, [*arguments, "--max-boxes", "5", "--scale", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("5 boxes in ")
    before, after = Image.open(image), Image.open(output)
    assert after.size == (before.width * 2, before.height * 2)
    assert np.abs(np.asarray(after, dtype=int) - np.asarray(before.resize(after.size), dtype=int)).max() > 100


def test_no_box_above_the_threshold_gives_the_image(detector_folder, image, tmp_path):
    output = tmp_path / "drawn.png"
    arguments = ["draw-regions", str(image), "--model", str(detector_folder), "--output", str(output)]
    result = run(app, [*arguments, "--threshold", "1"])
    assert result.stdout.startswith("0 boxes in ")
    assert np.array_equal(Image.open(output), Image.open(image))


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [("missing.png", "drawn.png", "does not exist"), ("image.png", "drawn.txt", "no name of an image")],
)
def test_mistake_is_one_line_and_exit_code_one(detector_folder, image, tmp_path, name, output, message):
    paths = [str(image.with_name(name)), "--model", str(detector_folder), "--output", str(tmp_path / output)]
    result = run(app, ["draw-regions", *paths])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / output).exists()
