import json
import logging
import os
import unicodedata
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.regions.images import save_detector, save_images, spoil
from PIL import Image
from safetensors.torch import load_file, save_file
from wenlan.data import RegionShardError, TooManyBadRowsError, read_region_info, read_regions
from wenlan.data.files.lock import output_lock
from wenlan.modeling_region_detector import RegionDetector
from wenlan.pipelines import region_extraction as script
from wenlan.pipelines.region_extraction import RegionChoice, extract_regions
from wenlan.processing import decode_image
from wenlan.processing.regions import RegionFeatureExtractor

CHOICE = RegionChoice(min_boxes=4, max_boxes=8)
ARRAYS = ["boxes", "features", "class_probs", "object_ids", "object_scores", "attribute_ids", "attribute_scores"]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return save_detector(tmp_path_factory.mktemp("detector"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def photos(tmp_path):
    save_images(tmp_path / "photos", 10)
    return tmp_path / "photos"


def rows_of(folder):
    return {row["image_id"]: row for row in read_regions(folder)}


def test_300_images_with_15_bad_ones_finish_with_exact_counts(detector, tmp_path):
    names = save_images(tmp_path / "photos", 300)
    causes = spoil(tmp_path / "photos", names[7::20])
    (tmp_path / "photos" / "list.txt").write_text("\n".join(names), "utf-8")
    report = extract_regions(tmp_path / "photos" / "list.txt", tmp_path / "out", model=detector, choice=CHOICE)
    assert len(causes) == 15
    assert (report.rows_read, report.rows_kept) == (300, 285)
    assert report.counts == Counter(causes.values())
    assert set(report.counts.values()) == {3}
    assert [row["image_id"] for row in read_regions(tmp_path / "out")] == [name for name in names if name not in causes]
    written = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert {entry["image_id"]: entry["cause"] for entry in written["skipped"]} == causes
    assert all(entry["path"] == str(tmp_path / "photos" / entry["image_id"]) for entry in written["skipped"])


def test_rows_are_what_the_extractor_gives_for_each_image(detector, photos, tmp_path):
    extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE, batch_size=3)
    extractor = RegionFeatureExtractor.from_pretrained(detector)
    for name, row in rows_of(tmp_path / "out").items():
        image = decode_image(photos / name)
        alone = extractor.extract([image], min_boxes=4, max_boxes=8)
        assert (row["image_height"], row["image_width"]) == (image.height, image.width)
        assert 1 <= len(row["boxes"]) <= 8
        for key in ARRAYS:
            assert np.allclose(row[key], alone[key][0].numpy(), atol=2e-3, rtol=2e-3), key


def test_information_says_how_the_regions_were_made(detector, photos, tmp_path):
    extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE, top_k=3)
    info = read_region_info(tmp_path / "out")
    assert info.model_hash == RegionFeatureExtractor.from_pretrained(detector).model_hash
    assert (info.feature_dim, info.num_classes, info.background_index, info.top_k) == (64, 7, 0, 3)
    assert info.settings == {
        "min_boxes": 4,
        "max_boxes": 8,
        "conf_threshold": 0.2,
        "region_boxes": "proposals",
        "proposals": 12,
        "backend": "native",
        "dtype": "float32",
    }


def test_batches_shards_and_workers_do_not_change_the_rows(detector, photos, tmp_path):
    extract_regions(photos, tmp_path / "a", model=detector, choice=CHOICE, batch_size=1, num_workers=1)
    extract_regions(photos, tmp_path / "b", model=detector, choice=CHOICE, batch_size=8, shard_size=3, num_workers=3)
    one, other = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert list(one) == list(other)
    assert all(np.allclose(one[name][key], other[name][key], atol=2e-3, rtol=2e-3) for name in one for key in ARRAYS)


def test_processes_give_the_same_bytes_and_log_a_cause_once(detector, photos, tmp_path, caplog):
    causes = spoil(photos, sorted(path.name for path in photos.iterdir())[:2])
    options = {"model": detector, "choice": CHOICE, "shard_size": 2, "max_bad_fraction": 0.5}
    reports = {}
    for num_proc in (1, 2):
        caplog.clear()
        reports[num_proc] = extract_regions(photos, tmp_path / str(num_proc), num_proc=num_proc, **options)
        assert caplog.text.count("Left out, ") == len(set(causes.values()))
    assert reports[1].counts == reports[2].counts == Counter(causes.values())
    files = {path.name: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "2").iterdir()} == files


def test_another_process_refuses_a_detector_that_was_replaced(detector, photos, tmp_path):
    extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)
    info = replace(read_region_info(tmp_path / "out"), model_hash="another")
    extractor = RegionFeatureExtractor.from_pretrained(detector)
    with pytest.raises(ValueError, match=r"The detector changed while it was used: it is .* and was another"):
        script._Extraction(lambda: extractor, CHOICE, info, batch_size=1, num_workers=1)


def test_bfloat16_gives_nearly_the_same_features(detector, photos, tmp_path):
    boxes = RegionChoice(min_boxes=12, max_boxes=12)
    for dtype in ("float32", "bfloat16"):
        extract_regions(photos, tmp_path / dtype, model=detector, choice=boxes, dtype=dtype)
    folders = [tmp_path / dtype for dtype in ("float32", "bfloat16")]
    exact, rough = (np.concatenate([row["features"] for row in read_regions(folder)]) for folder in folders)
    assert not np.array_equal(exact, rough)
    assert np.abs(exact.mean(0) - rough.mean(0)).max() < 0.1 * np.abs(exact).max()


def test_finished_shards_are_not_made_again(detector, photos, tmp_path):
    arguments = {"model": detector, "choice": CHOICE, "shard_size": 3}
    extract_regions(photos, tmp_path / "out", **arguments)
    shards = sorted((tmp_path / "out").glob("*.parquet"))
    before = [(shard.read_bytes(), shard.stat().st_mtime_ns) for shard in shards]
    shards[1].unlink()
    shards[3].write_bytes(before[3][0][:-9])
    extract_regions(photos, tmp_path / "out", **arguments)
    after = [(shard.read_bytes(), shard.stat().st_mtime_ns) for shard in shards]
    assert [data for data, _ in after] == [data for data, _ in before]
    assert [new[1] == old[1] for new, old in zip(after, before, strict=True)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choice": RegionChoice(4, 9)}, "info.settings.max_boxes is 8 there and 9 now"),
        ({"top_k": 2}, "info.top_k is None there and 2 now"),
        ({"dtype": "bfloat16"}, "info.settings.dtype"),
        ({"shard_size": 7}, "shard_size is 256 there and 7 now"),
    ],
)
def test_changed_settings_are_refused(detector, photos, tmp_path, changes, message):
    extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)
    with pytest.raises(ValueError, match=message):
        extract_regions(photos, tmp_path / "out", **({"model": detector, "choice": CHOICE} | changes))


def test_other_images_and_other_weights_are_refused(detector, photos, tmp_path):
    extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)
    other = save_detector(tmp_path / "other")
    weights = tmp_path / "other" / "model.safetensors"
    state = load_file(weights)
    state["roi_heads.box_predictor.cls_score.bias"] += 1
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"info.model_hash is"):
        extract_regions(photos, tmp_path / "out", model=other, choice=CHOICE)
    save_images(photos, 11)
    with pytest.raises(ValueError, match=r"inputs.count is 10 there and 11 now"):
        extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)


MARK = (255, 0, 255)


@pytest.fixture
def failing_detector(monkeypatch):
    """Fails as a whole, or gives a number that is none, for images with a mark in their corner."""

    def break_on_mark(how):
        real = RegionFeatureExtractor.extract

        def extract(self, images, **arguments):
            marked = [image.getpixel((0, 0)) == MARK for image in images]
            if how == "raise" and any(marked):
                raise RuntimeError("no kernel for this image")
            if how == "lose device" and any(marked):
                raise torch.AcceleratorError("device-side assert")
            output = real(self, images, **arguments)
            if how == "nan":
                broken = torch.tensor(marked)[:, None, None]
                output.features = output.features.masked_fill(broken, torch.nan)
            return output

        monkeypatch.setattr(RegionFeatureExtractor, "extract", extract)

    return break_on_mark


def mark(path):
    Image.new("RGB", (48, 48), MARK).save(path)


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_image_that_the_detector_fails_on_costs_itself(detector, photos, tmp_path, failing_detector, how, caplog):
    extract_regions(photos, tmp_path / "whole", model=detector, choice=CHOICE)
    mark(photos / "x1.png")
    mark(photos / "x2.png")
    failing_detector(how)
    with caplog.at_level(logging.WARNING):
        report = extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE, max_bad_fraction=0.2)
    assert (report.rows_kept, dict(report.counts)) == (10, {"detector failed": 2})
    assert caplog.text.count("Left out, detector failed") == 1
    whole, rows = rows_of(tmp_path / "whole"), rows_of(tmp_path / "out")
    assert list(whole) == list(rows)
    assert all(np.allclose(whole[name][key], rows[name][key], atol=2e-3, rtol=2e-3) for name in whole for key in ARRAYS)


def test_detector_that_fails_on_everything_ends_the_run_without_a_shard(detector, tmp_path, failing_detector):
    (tmp_path / "photos").mkdir()
    for index in range(12):
        mark(tmp_path / "photos" / f"{index}.png")
    failing_detector("raise")
    with pytest.raises(TooManyBadRowsError, match=r"failed on all 12 images(?s:.*)no kernel for this image"):
        extract_regions(tmp_path / "photos", tmp_path / "out", model=detector, choice=CHOICE)
    assert list((tmp_path / "out").glob("*.parquet")) == []


def test_lost_device_ends_the_run_and_no_image_is_blamed(detector, photos, tmp_path, failing_detector):
    mark(photos / "x1.png")
    failing_detector("lose device")
    with pytest.raises(torch.AcceleratorError):
        extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)
    assert list((tmp_path / "out").glob("*.parquet")) == []


def test_too_many_bad_images_are_an_error_until_more_are_allowed(detector, photos, tmp_path):
    spoil(photos, ["000.png", "001.jpg"])
    with pytest.raises(TooManyBadRowsError, match=r"(?s)more than 10% .* 1 x not an image"):
        extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)
    with pytest.raises(RegionShardError, match="a run that failed"):
        read_regions(tmp_path / "out")
    extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE, max_bad_fraction=0.5)
    assert len(read_regions(tmp_path / "out")) == 8


def test_another_process_that_extracts_into_the_folder_is_left_alone(detector, photos, tmp_path):
    with output_lock(tmp_path / "out"), pytest.raises(ValueError, match="is writing into"):
        extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float8"}, "dtype 'float8'"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"choice": RegionChoice(9, 8)}, "min_boxes=9"),
        ({"choice": RegionChoice(region_boxes="best")}, "region_boxes is 'best'"),
        ({"top_k": 99}, "top_k is 99"),
        ({"backend": "caffe"}, "Unknown backend 'caffe'"),
    ],
)
def test_argument_out_of_range_is_an_error_before_the_first_image(detector, photos, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        extract_regions(photos, tmp_path / "out", model=detector, **arguments)
    assert not (tmp_path / "out").exists()


def test_images_of_one_shape_fill_the_batches_whatever_their_order(detector, tmp_path, monkeypatch):
    batches = []
    real = RegionDetector.forward

    def forward(self, pixel_values, **arguments):
        batches.append(len(pixel_values))
        return real(self, pixel_values, **arguments)

    monkeypatch.setattr(RegionDetector, "forward", forward)
    monkeypatch.setattr(script, "WINDOW_BATCHES", 1)
    save_images(tmp_path / "photos", 16)  # of four shapes in turn
    extract_regions(tmp_path / "photos", tmp_path / "out", model=detector, choice=CHOICE, batch_size=4)
    assert batches == [1, 4, 4, 4, 4]  # the first one checks the settings


def test_large_images_are_not_held_together():
    decoded = [(position, Image.new("L", (5000, 5000))) for position in range(4)]
    windows = [[position for position, _ in window] for window in script._windows(decoded, 32)]
    assert windows == [[0, 1], [2, 3]]


def test_same_command_repairs_a_flipped_bit_and_sees_an_image_that_was_replaced(detector, photos, tmp_path):
    def extract():
        return extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE, shard_size=4)

    extract()
    before, shards = rows_of(tmp_path / "out"), sorted((tmp_path / "out").glob("*.parquet"))
    first, *_, last = sorted(before)
    data = shards[0].read_bytes()
    shards[0].write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    Image.new("RGB", (90, 70), "red").save(photos / last)
    report = extract()
    assert report.rows_kept == 10
    after = rows_of(tmp_path / "out")
    assert all(np.array_equal(before[first][name], after[first][name]) for name in ARRAYS)
    assert shards[0].read_bytes() == data
    assert (after[last]["image_height"], after[last]["image_width"]) == (70, 90)
    assert not np.array_equal(before[last]["features"], after[last]["features"])


def test_folder_of_odd_names_kinds_and_links_is_extracted(detector, photos, tmp_path):
    (photos / "000.png").rename(photos / os.fsdecode(b"\xb5\xc2.png"))
    (photos / "001.jpg").rename(photos / "100% \u732b\n.jfif")
    (photos / "003.png").rename(photos / unicodedata.normalize("NFD", "\u304c.png"))
    save_images(tmp_path / "album", 2)
    (photos / "album").symlink_to(tmp_path / "album")
    (photos / "loop").symlink_to(".")
    os.mkfifo(photos / "pipe.png")
    (photos / "zero.png").symlink_to("/dev/zero")
    with (photos / "huge.png").open("wb") as file:
        file.truncate(6 * 2**30)
    report = extract_regions(photos, tmp_path / "out", model=detector, choice=CHOICE, max_bad_fraction=0.3)
    assert report.counts == {"unreadable": 2, "too large": 1}
    names = {"\\udcb5\\udcc2.png", "100% \u732b\n.jfif", unicodedata.normalize("NFD", "\u304c.png"), "album/001.jpg"}
    assert names < rows_of(tmp_path / "out").keys()
    assert len(rows_of(tmp_path / "out")) == 12
    written = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert written["not_looked_at"] == report.not_looked_at == {"folder listed before": 1}
