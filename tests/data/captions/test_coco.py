import json

import pytest
from helpers.finetuning.caption_files import COCO, coco_name, write_coco, write_karpathy
from wenlan.data import TooManyBadRowsError, read_captions


def by_id(rows):
    return {row["image_id"]: row for row in rows}


def change(file, edit):
    content = json.loads(file.read_text("utf-8"))
    edit(content)
    file.write_text(json.dumps(content), "utf-8")


def test_file_of_karpathy_gives_images_with_all_their_captions(tmp_path):
    data = read_captions("coco", write_karpathy(tmp_path / "dataset_coco.json"))
    rows = by_id(data)
    assert rows["coco:1"] == {
        "image_id": "coco:1",
        "image": "train2014/COCO_train2014_000000000001.jpg",
        "split": "train",
        "captions": {"en": [f"caption {i} of 1" for i in range(5)]},
        "source": "coco",
    }
    assert len(rows["coco:5"]["captions"]["en"]) == 7
    assert (data.report.rows_read, data.report.rows_kept) == (6, 6)


def test_restval_counts_as_train(tmp_path):
    rows = by_id(read_captions("coco", write_karpathy(tmp_path / "dataset_coco.json")))
    assert [row["split"] for row in rows.values()] == ["train", "train", "train", "val", "test", "test"]


def test_file_of_karpathy_for_another_data_set_has_its_images(tmp_path):
    images = [{"filename": "36979.jpg", "split": "test", "sentences": [{"raw": "a dog"}]}]
    file = write_karpathy(tmp_path / "dataset_flickr30k.json", images=images, dataset="flickr30k")
    (row,) = read_captions("coco", file)
    assert (row["image_id"], row["image"]) == ("flickr30k:36979", "36979.jpg")


def test_stair_captions_get_the_splits_of_karpathy_and_stay_raw(tmp_path):
    splits = write_karpathy(tmp_path / "dataset_coco.json")
    rows = by_id(read_captions("stair", write_coco(tmp_path / "stair"), split_file=splits))
    english = by_id(read_captions("coco", splits))
    assert {key: row["split"] for key, row in rows.items()} == {key: row["split"] for key, row in english.items()}
    assert rows["coco:3"]["captions"] == {"ja": [f"説明{i}の3" for i in range(5)]}
    assert rows["coco:3"]["image"] == english["coco:3"]["image"]


def test_without_a_file_of_splits_a_file_is_a_split(tmp_path):
    names = "captions_train2014.json", "captions_val2014.json"
    rows = by_id(read_captions("coco", write_coco(tmp_path, names, word="caption")))
    assert {key: row["split"] for key, row in rows.items()} == {
        f"coco:{number}": folder[:-4] for number, (folder, _) in COCO.items()
    }
    assert rows["coco:1"]["captions"].keys() == {"en"}


def test_another_language_can_be_given(tmp_path):
    (row, *_) = read_captions("coco", write_karpathy(tmp_path / "a.json"), language="de")
    assert row["captions"].keys() == {"de"}


def test_file_whose_split_is_unknown_is_refused(tmp_path):
    write_coco(tmp_path, ("stair_captions.json", "stair_captions_val.json"))
    with pytest.raises(ValueError, match=r"stair_captions\.json: which of train, val and test it is"):
        list(read_captions("stair", tmp_path))


def test_image_without_a_split_is_counted(tmp_path):
    splits = write_karpathy(tmp_path / "s.json", {number: place for number, place in COCO.items() if number != 2})
    data = read_captions("stair", write_coco(tmp_path / "stair"), split_file=splits, max_bad_fraction=0.5)
    assert "coco:2" not in by_id(data)
    assert data.report.counts == {"in no split": 1}


@pytest.mark.parametrize(
    ("cause", "edit"),
    [
        ("missing field", lambda content: content["images"].append({"id": 9})),
        ("missing field", lambda content: content["images"].append("no image")),
        ("missing field", lambda content: content["images"].append({"id": "9", "file_name": "9.jpg"})),
        ("duplicate image", lambda content: content["images"].append(content["images"][0])),
        ("empty text", lambda content: content["images"].append({"id": 9, "file_name": "9.jpg"})),
    ],
)
def test_bad_image_is_left_out_and_counted(tmp_path, cause, edit):
    write_coco(tmp_path)
    change(tmp_path / "stair_captions_v1.2_train.json", edit)
    data = read_captions("stair", tmp_path, max_bad_fraction=0.5)
    assert len(list(data)) == 6
    assert data.report.counts == {cause: 1}
    assert "stair_captions_v1.2_train.json/image 2" in data.report.examples[cause]


@pytest.mark.parametrize(
    ("cause", "annotation"),
    [
        ("unknown image", {"image_id": 99, "caption": "x"}),
        ("unknown image", {"image_id": None, "caption": "x"}),
        ("unknown image", "no annotation"),
        ("caption dropped", {"image_id": 1, "caption": " "}),
        ("caption dropped", {"image_id": 1}),
        ("caption dropped", {"image_id": 1, "caption": 7}),
        ("caption dropped", {"image_id": 1, "caption": "https://example.org/1.jpg"}),
    ],
)
def test_bad_caption_costs_no_image_and_is_counted(tmp_path, cause, annotation):
    write_coco(tmp_path)
    change(tmp_path / "stair_captions_v1.2_train.json", lambda content: content["annotations"].append(annotation))
    data = read_captions("stair", tmp_path)
    assert len(by_id(data)["coco:1"]["captions"]["ja"]) == 5
    assert data.report.repairs == {cause: 1}


@pytest.mark.parametrize("image", ["no image", {"filename": "a.jpg"}, {"split": "train", "filename": 3}])
def test_bad_entry_of_karpathy_is_counted_in_captions_and_refused_in_splits(tmp_path, image):
    file = write_karpathy(tmp_path / "dataset_coco.json")
    change(file, lambda content: content["images"].append(image))
    data = read_captions("coco", file, max_bad_fraction=0.5)
    assert len(list(data)) == 6
    assert data.report.counts == {"missing field": 1}
    with pytest.raises(ValueError, match=r"dataset_coco\.json, image 6: missing field"):
        list(read_captions("stair", write_coco(tmp_path / "stair"), split_file=file))


def test_image_without_sentences_is_counted(tmp_path):
    file = write_karpathy(tmp_path / "dataset_coco.json")
    change(file, lambda content: content["images"][1].pop("sentences"))
    data = read_captions("coco", file, max_bad_fraction=0.5)
    assert "coco:2" not in by_id(data)
    assert data.report.counts == {"empty text": 1}


def test_missing_images_are_counted_where_their_folder_is_given(tmp_path):
    file = write_karpathy(tmp_path / "dataset_coco.json")
    for number in (1, 2):
        (tmp_path / "train2014").mkdir(exist_ok=True)
        (tmp_path / "train2014" / coco_name(number)).write_bytes(b"x")
    data = read_captions("coco", file, image_root=tmp_path, max_bad_fraction=0.9)
    assert by_id(data).keys() == {"coco:1", "coco:2"}
    assert data.report.counts == {"file missing": 4}
    inside = read_captions("coco", file, image_root=tmp_path / "train2014", max_bad_fraction=0.9)
    assert [row["image"] for row in inside] == [coco_name(1), coco_name(2)]


def test_files_of_another_form_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [{"id": 1}]}', "utf-8")
    with pytest.raises(ValueError, match="has no list 'annotations'"):
        list(read_captions("coco", tmp_path / "a.json"))
    with pytest.raises(FileNotFoundError, match=r"holds no \*captions\*\.json"):
        list(read_captions("coco", tmp_path))
    file = write_karpathy(tmp_path / "dataset_coco.json")
    with pytest.raises(ValueError, match="says the split of its images itself"):
        list(read_captions("coco", file, split_file=file))


def test_only_bad_images_raise_with_the_counts(tmp_path):
    file = write_karpathy(tmp_path / "dataset_coco.json", images=[{"sentences": []}] * 3)
    with pytest.raises(TooManyBadRowsError, match="left out 3 x missing field"):
        list(read_captions("coco", file, max_bad_fraction=1.0))
