"""Files of any kind in the place of one that a reader expects: it ends with one line, at once, in little memory."""

import os

import pytest
from wenlan.conversion.mlmm import read_answers, read_overrides
from wenlan.conversion.region_detector import read_names
from wenlan.data import read_pairs
from wenlan.data.cleaning.text_rules import WordList
from wenlan.data.detection.coco import read_coco_detection
from wenlan.data.files.checkpoint import read_checkpoint
from wenlan.data.files.image_listing import list_images
from wenlan.data.files.json_files import holds_list, read_json
from wenlan.data.files.safe_npz import read_npz
from wenlan.data.regions.import_features import read_sizes
from wenlan.data.regions.shards import read_header
from wenlan.processing.regions.detectron2_interop.weights import read_detector_weights
from wenlan.processing.regions.detectron2_interop.yaml_loader import read_detectron2_yaml
from wenlan.training.recipe import read_recipe

REFUSED = (ValueError, OSError)

READERS = {
    "json": (read_json, "a.json"),
    "list": (holds_list, "a.json"),
    "boxes": (read_coco_detection, "a.json"),
    "sizes": (read_sizes, "a.json"),
    "overrides": (read_overrides, "a.json"),
    "answers": (lambda path: read_answers(path, 3), "a.json"),
    "lines of answers": (lambda path: read_answers(path, 3), "a.txt"),
    "listing": (list_images, "a.json"),
    "listing of lines": (list_images, "a.jsonl"),
    "pairs in JSON": (read_pairs, "a.jsonl"),
    "pairs in CSV": (read_pairs, "a.csv"),
    "pairs in parquet": (read_pairs, "a.parquet"),
    "names": (lambda path: read_names(path, 3, "--class-names"), "a.txt"),
    "words": (lambda path: WordList([path]), "a.txt"),
    "npz": (read_npz, "a.npz"),
    "checkpoint": (read_checkpoint, "a.pth"),
    "tensors": (read_checkpoint, "a.safetensors"),
    "detector": (read_detector_weights, "a.pkl"),
    "detector of torch": (read_detector_weights, "a.pth"),
    "yaml": (read_detectron2_yaml, "a.yaml"),
    "recipe": (lambda path: read_recipe(str(path)), "a.yaml"),
    "shard": (read_header, "regions-00000-of-00001.parquet"),
}


def make_sparse(path):
    with path.open("wb") as file:
        file.truncate(6 << 30)


PLACES = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "6 GB": make_sparse,
}
CONTENTS = {
    "brackets": b"[" * 100_000 + b"]" * 100_000,
    "braces": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "zeros": b"\0" * 1000,
    "no UTF-8": b"\xff\xfe\x00\xd8" * 100,
    "length of 2 GB": b"\x80\x04B\xff\xff\xff\x7fabc",
    "a word": b"null",
    "nothing": b"",
}
TAKES_ANY_TEXT = ("list", "words")


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_or_too_large_is_refused_by_name(name, tmp_path):
    read, file_name = READERS[name]
    for kind, make in PLACES.items():
        if (name, kind) == ("list", "6 GB"):  # reads the beginning alone
            continue
        path = tmp_path / kind / file_name
        path.parent.mkdir()
        make(path)
        with pytest.raises(REFUSED, match=f"{kind}/{file_name}") as refused:
            read(path)
        assert max(map(len, str(refused.value).splitlines())) <= 400


@pytest.mark.parametrize("name", [name for name in READERS if name not in TAKES_ANY_TEXT])
def test_content_of_another_kind_is_refused_in_a_few_words(name, tmp_path):
    read, file_name = READERS[name]
    path = tmp_path / file_name
    for kind, content in CONTENTS.items():
        if (name, kind) == ("json", "a word"):
            continue
        path.write_bytes(content)
        with pytest.raises(REFUSED) as refused:
            read(path)
        assert 0 < max(map(len, str(refused.value).splitlines())) <= 400, kind
