import hashlib
import io
import random
import re
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from build_emoji7 import PACKAGES, write_table
from build_emoji7_concepts import draw_held_concepts, is_image_of_a_thing
from build_emoji7_images import IconSet, encode_webp
from PIL import Image
from wenlan.data import GROUP_NAMES, LANGUAGES, draw_text, load_emoji7, training_texts
from wenlan.data.emoji7.dataset import FOLDER

FILE_HASHES = {
    "concepts.parquet": "438923dde3d3b0ac71029dc1657568db5ff990f6669e7ba2515431742490239b",
    "images_emojitwo.parquet": "c5dd346cdd20ab7f3257749b137ed3bd0ee0f622ef63d154da1432577b936ba1",
    "images_fluent3d.parquet": "4b77d04c96b9e5748e4ed3064143db43bc5f783abf018d4141222f9a15c2f395",
    "images_fluentflat.parquet": "a4472d0ee583291db4410d354369b9a8e222d3231ce29ea4b23e27e64aa20193",
    "images_noto.parquet": "666856d74e9afda1e009a5d9fd412cca58e759706c51baac37b9fb74f9fae946",
    "images_notov1.parquet": "5d0b6177baee703634dd7703b3f35effe0a615dcde51388f5502c1ce9fc6834d",
    "images_twemoji.parquet": "96ac2c006ae368fc53506a648126e6fbaff47d9e8bcd7b9e4c6f86fa2c9e419b",
}
ROWS = {"train": 4209, "validation": 1199, "test": 1198, "test_held": 140, "test_held_noto": 141}
ROW = {"name_en": "cat", "keywords_en": ["pet", "kitten", "mew", "fur"], "name_zh": "猫", "keywords_zh": ["宠物"]}


@pytest.fixture(scope="module")
def emoji7():
    return load_emoji7()


@pytest.fixture(scope="module")
def concepts():
    return pq.read_table(FOLDER / "concepts.parquet").to_pylist()


def test_committed_files_are_the_built_ones():
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in FOLDER.glob("*.parquet")}
    assert hashes == FILE_HASHES


def test_files_take_less_than_twelve_megabytes():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 12_000_000


def test_splits_have_their_row_counts(emoji7):
    assert emoji7.num_rows == ROWS


def test_splits_hold_their_styles(emoji7):
    assert {split: sorted(set(rows["style"])) for split, rows in emoji7.items()} == {
        "train": ["emojitwo", "noto", "notov1", "twemoji"],
        "validation": ["fluentflat"],
        "test": ["fluent3d"],
        "test_held": ["fluent3d"],
        "test_held_noto": ["noto"],
    }


def test_held_concepts_are_in_no_other_split(emoji7):
    held = set(emoji7["test_held"]["concept"]) | set(emoji7["test_held_noto"]["concept"])
    seen = {concept for split in ("train", "validation", "test") for concept in emoji7[split]["concept"]}
    assert len(held) == 141
    assert not held & seen


def test_held_concepts_are_the_ones_the_rule_draws(concepts):
    held = sorted(row["concept"] for row in concepts if row["concept_split"] == "held")
    assert held == sorted(draw_held_concepts(concepts))
    assert hashlib.sha256("\n".join(held).encode()).hexdigest().startswith("f69ed7568e78922d")
    assert not any(row["detector_class"] for row in concepts if row["concept_split"] == "held")
    assert sum(row["detector_class"] for row in concepts) == 128


def test_concept_and_style_occur_once_in_a_split(emoji7):
    pairs = [list(zip(rows["concept"], rows["style"], strict=True)) for rows in emoji7.values()]
    assert [len(set(split)) for split in pairs] == list(ROWS.values())


def test_row_joins_the_image_with_its_concept(emoji7, concepts):
    row = emoji7["test"][700]
    stored = pq.read_table(FOLDER / "images_fluent3d.parquet").to_pylist()
    with Image.open(io.BytesIO(next(r["image"] for r in stored if r["concept"] == row["concept"]))) as image:
        assert row["image"].tobytes() == image.tobytes()
    expected = dict(concepts[row["concept_id"]])
    assert expected.pop("concept_split") == "seen"
    assert {column: row[column] for column in expected} == expected
    assert (row["image"].size, row["image"].mode, row["style"]) == ((96, 96), "RGBA", "fluent3d")


def test_every_image_is_96_pixels_square():
    tables = [pq.read_table(file) for file in FOLDER.glob("images_*.parquet")]
    for data in pa.concat_tables(tables)["image"].to_pylist():
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (96, 96)


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_unique_and_keywords_leave_the_name_out(concepts, language):
    assert len({row[f"name_{language}"] for row in concepts}) == len(concepts) == 1356
    assert not any(row[f"name_{language}"] in row[f"keywords_{language}"] for row in concepts)


def test_groups_have_their_sizes_and_names(concepts):
    sizes = Counter(row["group"] for row in concepts)
    assert sorted(sizes.values(), reverse=True) == [264, 194, 185, 169, 169, 159, 131, 85]
    assert all(set(names) == set(sizes) for names in GROUP_NAMES.values())
    assert GROUP_NAMES["zh"]["Animals & Nature"] == "动物"


@pytest.mark.parametrize("style", ["notov1", "emojitwo", "fluentflat", "fluent3d"])
def test_wrong_drawings_are_removed(style):
    traps = {"1f997"} if style in ("notov1", "emojitwo") else {"1f431", "1f63a"}
    assert not traps & set(pq.read_table(FOLDER / f"images_{style}.parquet")["concept"].to_pylist())


def test_card_and_notice_name_every_source_author_and_licence():
    card = (FOLDER / "README.md").read_text("utf-8")
    notice = (FOLDER.parents[1] / "NOTICE").read_text("utf-8")
    words = [*PACKAGES, "Apache-2.0", "CC-BY-4.0", "MIT", "Unicode-3.0", "rendered at 96 px, re-encoded as WebP"]
    words += ["Google", "Twitter", "EmojiTwo", "Ranks.com", "Microsoft", "LobeHub", "Unicode, Inc.", "Cal Henderson"]
    for word in words:
        assert word in card
        assert word in notice
    assert "THE DATA FILES AND SOFTWARE ARE PROVIDED" in notice
    assert "WARRANTIES OF MERCHANTABILITY" in notice


def test_card_states_the_row_counts():
    card = (FOLDER / "README.md").read_text("utf-8")
    assert {name: int(n) for name, n in re.findall(r"^\| `(\w+)` \| (\d+) \|", card, re.MULTILINE)} == ROWS


def test_text_is_a_name_half_of_the_time_and_keywords_alone_a_quarter():
    texts = [draw_text(ROW, random.Random(i), "en") for i in range(4000)]
    only_name = sum(text == "cat" for text in texts) / 4000
    with_name = sum(text.startswith("cat ") for text in texts) / 4000
    assert only_name == pytest.approx(0.5, abs=0.03)
    assert with_name == pytest.approx(0.25, abs=0.03)


def test_one_to_three_keywords_are_drawn_equally_often_and_none_twice():
    texts = [draw_text(ROW, random.Random(i), "en").split() for i in range(4000)]
    keywords = [text for text in texts if text[0] != "cat"]
    counts = Counter(map(len, keywords))
    assert sorted(counts) == [1, 2, 3]
    assert min(counts.values()) / len(keywords) == pytest.approx(1 / 3, abs=0.05)
    assert all(len(set(text)) == len(text) for text in texts)


def test_text_depends_on_the_generator_alone():
    state = random.getstate()
    assert [draw_text(ROW, random.Random(i), "en") for i in range(50)] == [
        draw_text(ROW, random.Random(i), "en") for i in range(50)
    ]
    assert random.getstate() == state


def test_concept_without_keywords_gives_its_name():
    row = {"name_en": "cat", "keywords_en": []}
    assert {draw_text(row, random.Random(i), "en") for i in range(50)} == {"cat"}


@pytest.mark.parametrize(("language", "joined"), [("zh", "猫，宠物"), ("ja", "猫、宠物"), ("ko", "猫 宠物")])
def test_parts_are_joined_as_the_language_writes_lists(language, joined):
    row = {f"name_{language}": "猫", f"keywords_{language}": ["宠物"]}
    assert {draw_text(row, random.Random(i), language) for i in range(50)} == {"猫", "宠物", joined}


def test_training_texts_are_those_of_seen_concepts(concepts):
    texts = training_texts("zh")
    seen = [row for row in concepts if row["concept_split"] == "seen"]
    assert texts[:4] == ["嘿嘿", "笑脸", "脸", "高兴"]
    assert sorted(texts) == sorted(text for row in seen for text in [row["name_zh"], *row["keywords_zh"]])


def test_unknown_language_is_refused_with_the_known_ones():
    for call in (training_texts, lambda language: draw_text(ROW, random.Random(0), language)):
        with pytest.raises(ValueError, match=r"'xx'.*zh, en, de, fr, cs, ja, ko"):
            call("xx")


@pytest.mark.parametrize(
    ("concept", "group", "subgroup", "kept"),
    [
        ("1f415", "Animals & Nature", "animal-mammal", True),
        ("1f1e8-1f1f3", "Flags", "country-flag", False),
        ("1f191", "Symbols", "alphanum", False),
        ("2122-fe0f", "Symbols", "other-symbol", False),
        ("1f553", "Travel & Places", "time", False),
        ("23f0", "Travel & Places", "time", True),
        ("1f468-200d-1f52c", "People & Body", "person-role", False),
        ("1f468", "People & Body", "person", True),
        ("2640-fe0f", "Symbols", "gender", True),
        ("1f6b4-200d-2640-fe0f", "People & Body", "person-sport", False),
        ("1f3c3-200d-27a1-fe0f", "People & Body", "person-activity", False),
    ],
)
def test_only_images_of_things_are_kept(concept, group, subgroup, kept):
    assert is_image_of_a_thing(concept, group, subgroup) is kept


def test_plain_aliases_are_followed_and_transformed_ones_are_not():
    aliases = {"kitty": {"parent": "cat"}, "tac": {"parent": "cat", "hFlip": True}}
    icons = IconSet(icons={"cat": {"body": "<g/>", "width": 9}}, aliases=aliases, names={}, width=16, height=16)
    assert 'viewBox="0 0 9 16"' in icons.svg("kitty")
    assert icons.svg("kitty") == icons.svg("cat")
    assert icons.svg("tac") is None
    assert icons.svg("dog") is None


def test_flat_image_is_stored_without_loss_where_that_is_smaller():
    flat = Image.new("RGBA", (96, 96), (10, 20, 30, 255))
    stored = Image.open(io.BytesIO(encode_webp(flat, photographic=False)))
    assert stored.convert("RGBA").tobytes() == flat.tobytes()
    noise = Image.effect_noise((96, 96), 60).convert("RGBA")
    assert encode_webp(noise, photographic=False) == encode_webp(noise, photographic=True)


def test_table_is_written_whole_and_leaves_no_temporary_file(tmp_path):
    write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    write_table(pa.table({"a": [2]}), tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [{"a": 2}]
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
