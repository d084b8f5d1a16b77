import pytest
from wenlan.data.captions.text_corpus import CaptionedImage, digest
from wenlan.data.files.atomic import remove_unfinished
from wenlan.data.rows.report import BadRowError
from wenlan.data.translation.shards import Translation, TranslationShards

PIECES = [
    [CaptionedImage("0.png", ("a dog", "two dogs"), True), CaptionedImage("1.png", ("a cat",), False)],
    [CaptionedImage("2.png", ("a ship",), False)],
]
FOUND = [
    [[Translation("ein Hund"), Translation("zwei", "cut off")], [Translation(None, "model failed: no")]],
    [[Translation("")]],
]


@pytest.fixture
def shards(tmp_path):
    return TranslationShards(tmp_path / "de", [digest(piece) for piece in PIECES], {"model": "m"})


def test_rows_come_back_as_they_were_written(shards):
    assert shards.pending() == [0, 1]
    for number in (1, 0):
        shards.write(number, PIECES[number], FOUND[number])
    assert shards.pending() == []
    expected = [pair for piece, found in zip(PIECES, FOUND, strict=True) for pair in zip(piece, found, strict=True)]
    assert list(shards.read()) == expected


def test_same_rows_give_the_same_bytes(shards, tmp_path):
    other = TranslationShards(tmp_path / "other", shards.identities, {"model": "m"})
    for target in (shards, other):
        target.write(0, PIECES[0], FOUND[0])
    assert shards.path(0).read_bytes() == other.path(0).read_bytes()


def test_truncated_shard_and_shard_of_another_piece_are_to_be_written(shards):
    for number in (0, 1):
        shards.write(number, PIECES[number], FOUND[number])
    whole = shards.path(0).read_bytes()
    shards.path(0).write_bytes(whole[:-9])
    assert shards.pending() == [0]
    shards.path(1).write_bytes(whole)
    assert shards.pending() == [0, 1]


def test_damaged_page_is_an_error_that_names_the_file(shards):
    for number in (0, 1):
        shards.write(number, PIECES[number], FOUND[number])
    data = bytearray(shards.path(0).read_bytes())
    data[40] ^= 255
    shards.path(0).write_bytes(data)
    with pytest.raises(BadRowError, match=r"translations-00000-of-00002\.parquet.*remove it"):
        list(shards.read())


def test_piece_that_changed_during_the_run_is_refused(shards):
    with pytest.raises(ValueError, match="changed during the run"):
        shards.write(0, PIECES[1], FOUND[1])
    assert shards.pending() == [0, 1]


def test_other_settings_are_refused(shards):
    with pytest.raises(ValueError, match="model is 'm' there and 'n' now"):
        TranslationShards(shards.folder, shards.identities, {"model": "n"})


def test_left_overs_of_killed_runs_are_removed(shards):
    shards.write(0, PIECES[0], FOUND[0])
    (shards.folder / ".saving-1-translations-00001-of-00002.parquet").write_bytes(b"half")
    remove_unfinished(shards.folder)
    assert sorted(path.name for path in shards.folder.iterdir()) == ["manifest.json", shards.path(0).name]
