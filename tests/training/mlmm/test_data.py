import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.mlmm.corpus_files import INFO, write_captions, write_corpus, write_regions
from wenlan.data import MLMMBatches, RegionShardError, TooManyBadRowsError
from wenlan.processing import load_small_tokenizer
from wenlan.training.content_digest import digest_corpus
from wenlan.training.mlmm.data import CorpusArguments, load_corpus, read_info

IMAGES = {f"{number}.png": [number % 4, (number + 1) % 4] for number in range(6)}


@pytest.fixture(scope="module")
def tokenizer():
    return load_small_tokenizer()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Regions and captions of twelve images, in English and Chinese. Not to be changed."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 12)


def load(tokenizer, regions, captions, *, tasks="strong", **arguments):
    corpus = {"name": "c", "regions": str(regions), "captions": captions, "tasks": tasks}
    return load_corpus(corpus, CorpusArguments(**arguments), tokenizer)


def test_captions_find_their_images_by_the_end_of_the_path(files, tokenizer):
    corpus, report = load(tokenizer, *files)
    assert report.captions == {"en": 24, "zh": 24}
    table = corpus.captions["en"]
    first = json.loads(Path(files[1], "captions_en.jsonl").read_text("utf-8").splitlines()[0])
    assert [table.text(index) for index in range(2)] == first["text"]
    rows = corpus.read_images(table.images[:4])
    assert [row["image_id"] for row in rows] == ["0.png", "0.png", "1.png", "1.png"]


def test_two_images_that_fit_the_same_regions_are_refused(tmp_path, tokenizer):
    write_regions(tmp_path / "regions", IMAGES)
    lines = [json.dumps({"image": f"{folder}/0.png", "text": "a lion"}) for folder in ("a", "b")]
    (tmp_path / "captions_en.jsonl").write_text("\n".join(lines), "utf-8")
    with pytest.raises(ValueError, match=r"a/0\.png and b/0\.png both fit the regions of 0\.png"):
        load(tokenizer, tmp_path / "regions", str(tmp_path))


def test_captions_without_regions_are_counted(tmp_path, tokenizer):
    write_regions(tmp_path / "regions", IMAGES)
    write_captions(tmp_path, IMAGES | {"more.png": [1]}, languages=["en"])
    corpus, report = load(tokenizer, tmp_path / "regions", str(tmp_path), max_bad_fraction=0.2)
    assert len(corpus) == 12
    assert "left out 1 x no regions. First: " in str(report)
    assert report.to_dict()["files"][0]["left_out"] == {"no regions": 1}
    with pytest.raises(TooManyBadRowsError, match="kept 6 of 7 rows"):
        load(tokenizer, tmp_path / "regions", str(tmp_path), max_bad_fraction=0.0)


def test_image_without_regions_is_left_out_and_counted(tmp_path, tokenizer):
    images = IMAGES | {"empty.png": []}
    write_regions(tmp_path / "regions", images)
    write_captions(tmp_path, images | {"empty.png": [1]}, languages=["de"])
    corpus, report = load(tokenizer, tmp_path / "regions", str(tmp_path), max_bad_fraction=0.2)
    assert corpus.bad_rows.counts == Counter({"image without regions": 2})
    assert "left out 2 x image without regions" in str(report)
    with pytest.raises(TooManyBadRowsError, match="kept 12 of 14 rows"):
        load(tokenizer, tmp_path / "regions", str(tmp_path))


def test_weakly_correlated_corpus_gives_matching_only(files, tokenizer):
    corpora = [load(tokenizer, *files, tasks=tasks)[0] for tasks in ("strong", "weak")]
    batches = MLMMBatches(corpora, num_steps=400, token_budget=512)
    drawn = Counter(batches.draw_task(step) for step in range(400))
    assert {task for number, task in drawn if number == 1} == {"itm"}
    assert {task for number, task in drawn if number == 0} == {"itm", "mlm", "mrfr", "mrc"}
    for choice, weight in {(0, "itm"): 9, (0, "mlm"): 12, (0, "mrfr"): 6, (0, "mrc"): 6, (1, "itm"): 9}.items():
        assert drawn[choice] / 400 == pytest.approx(weight / 42, abs=0.06)


def test_damaged_shard_is_refused_or_left_out(tmp_path, tokenizer):
    regions, captions = write_corpus(tmp_path, 8)
    other = write_regions(tmp_path / "other", {f"x{number}.png": [1] for number in range(3)})
    other.write_bytes(other.read_bytes()[:-200])
    corpus = {"regions": [regions, str(other)], "captions": captions}
    with pytest.raises(RegionShardError, match="other/regions-00000-of-00001"):
        load_corpus(corpus, CorpusArguments(), tokenizer)
    loaded, _ = load_corpus(corpus, CorpusArguments(on_bad_shard="skip"), tokenizer)
    assert len(loaded.regions) == 8


def test_regions_of_two_detectors_are_refused_with_both_widths(tmp_path, files):
    other, _ = write_corpus(tmp_path, 3, info=replace(INFO, feature_dim=8))
    with pytest.raises(ValueError, match=r"feature_dim is 6 in .* and 8 in"):
        read_info([{"regions": files[0]}, {"regions": other}])


def test_unknown_language_is_refused(files, tokenizer):
    with pytest.raises(ValueError, match="'xx'"):
        load(tokenizer, files[0], {"xx": f"{files[1]}/captions_en.jsonl"})


def test_folder_without_captions_is_named(files, tokenizer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no captions_\*\.jsonl"):
        load(tokenizer, files[0], str(tmp_path))


def test_all_faults_of_the_corpora_are_named_at_once():
    bad = [{"regions": "a", "caption": "b"}, {"regions": "a", "captions": "b", "tasks": "all"}, "folder"]
    with pytest.raises(
        ValueError, match=r"lacks captions; .*unknown key 'caption' .*tasks 'all'.*'folder', no mapping"
    ):
        CorpusArguments(corpora=bad).listed()
    with pytest.raises(ValueError, match="no corpus"):
        CorpusArguments().listed()
    with pytest.raises(ValueError, match="test_regions and test_captions"):
        CorpusArguments(test_regions="a").test()


def test_shuffled_pairs_have_the_images_of_others(files, tokenizer):
    pairs = [load(tokenizer, *files, shuffle_pairs=shuffle)[0].captions["en"] for shuffle in (False, True)]
    assert (pairs[0].images != pairs[1].images).all()
    assert sorted(pairs[0].images) == sorted(pairs[1].images)


def test_hard_negatives_beside_the_captions_are_found_as_the_images_are(tmp_path, tokenizer):
    regions, captions = write_corpus(tmp_path, 4)
    without = load(tokenizer, regions, captions)[0]
    rows = [("images/0.png", ["images/2.png", "images/gone.png"]), ("images/gone.png", ["images/0.png"])]
    lines = [json.dumps({"image": image, "hard_negatives": others}) for image, others in rows]
    Path(captions, "hard_negatives.jsonl").write_text("\n".join(lines), "utf-8")
    corpus = load(tokenizer, regions, captions)[0]
    assert corpus.hard_negatives == {0: [2]}
    assert digest_corpus(corpus) != digest_corpus(without)


@pytest.mark.parametrize("line", ["{", "[1]", '{"image": "0.png"}', '{"image": "0.png", "hard_negatives": [1]}'])
def test_broken_line_of_hard_negatives_is_named(tmp_path, tokenizer, line):
    regions, captions = write_corpus(tmp_path, 4)
    Path(captions, "hard_negatives.jsonl").write_text(line, "utf-8")
    with pytest.raises(ValueError, match=r"hard_negatives\.jsonl, line 1: .* is not"):
        load(tokenizer, regions, captions)


def test_captions_of_several_folders_are_one_corpus(tmp_path, tokenizer):
    sources = [write_corpus(tmp_path / str(first), 4, first=first) for first in (0, 4)]
    regions, captions = map(list, zip(*sources, strict=True))
    rows = [json.dumps({"image": "images/5.png", "hard_negatives": ["images/6.png"]})]
    Path(captions[1], "hard_negatives.jsonl").write_text("\n".join(rows), "utf-8")
    corpus, report = load_corpus({"regions": regions, "captions": captions}, CorpusArguments(), tokenizer)
    assert report.captions == {"en": 16, "zh": 16}
    assert corpus.captions["zh"].images.tolist() == [place for place in range(8) for _ in range(2)]
    assert corpus.hard_negatives == {5: [6]}


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_hard_negatives_of_an_image_with_captions_elsewhere_are_refused(tmp_path, tokenizer, order):
    regions, first = write_corpus(tmp_path, 4)
    write_captions(tmp_path / "other", {"1.png": [2]})
    Path(first, "hard_negatives.jsonl").write_text('{"image": "1.png", "hard_negatives": ["2.png"]}', "utf-8")
    captions = [[first, str(tmp_path / "other")][place] for place in order]
    with pytest.raises(ValueError, match="have captions in another folder too"):
        load_corpus({"regions": regions, "captions": captions}, CorpusArguments(), tokenizer)
