"""Rows are facts of ImageNet's names: 导弹, 有轨电车 and 太阳镜 each name two classes."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner
from wenlan.data import read_class_list
from wenlan.data.files.hashing import hash_file
from wenlan.data.imagenet.class_names import read_class_names
from wenlan.data.translation.shards import Translation
from wenlan.data.zero_shot.class_list_builder import RULE, build_class_list, write_class_list

from wenlan.cli.main import app

NAMES = {
    0: ("丁鲷", "tench"),
    1: ("金鱼", "goldfish"),
    292: ("老虎", "tiger"),
    657: ("导弹", "missile"),
    744: ("导弹", "projectile"),
    829: ("有轨电车", "streetcar"),
    874: ("有轨电车", "trolleybus"),
    836: ("太阳镜", "sunglasses"),
    837: ("太阳镜", "sunglass"),
    817: ("跑车", "sports car"),
    999: ("卫生纸", "toilet paper"),
}
UNIQUE = ["i0000", "i0001", "i0292", "i0817", "i0999"]


def row(number, name, english, *more):
    return "\t".join([f"i{number:04}", name, english, *more])


@pytest.fixture
def write(tmp_path):
    def write(*more, names=NAMES):
        lines = [row(number, *texts) for number, texts in reversed(names.items())]
        (tmp_path / "all.tsv").write_text("\n".join([*lines, *more]), "utf-8")
        return tmp_path / "all.tsv"

    return write


def test_names_of_two_classes_are_dropped_and_the_rest_is_in_order_of_the_ids(write):
    built = build_class_list(write(), count=5)
    assert list(built.class_list.ids) == UNIQUE
    assert built.left_out == {"name of two classes": 6}
    assert built.rows == 11


def test_every_so_manieth_class_is_taken(write):
    assert build_class_list(write(), count=2).class_list.ids == ("i0000", "i0292")  # floor(5 / 2) = 2
    assert build_class_list(write(), count=3).class_list.ids == ("i0000", "i0001", "i0292")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("T恤", "other characters than Han"),
        ("猫と犬", "other characters than Han"),
        ("一二三四五六七八九", "longer than 8 characters"),
        ("", "no name"),
    ],
)
def test_names_are_han_and_short(name, reason, write):
    assert build_class_list(write(row(5, name, "x")), count=5).left_out[reason] == 1
    assert build_class_list(write(row(5, "一二三四五六七八", "x")), count=6).left_out == {"name of two classes": 6}


def test_names_are_normalised_before_they_are_compared(write):
    built = build_class_list(write(row(5, "\u2f24山", "x"), row(6, "大山", "y")), count=5)  # a radical, in NFKC 大
    assert built.left_out["name of two classes"] == 8


def test_name_that_is_a_synonym_of_another_class_is_dropped_and_so_is_a_synonym_of_two(write):
    built = build_class_list(write(row(5, "锦鱼", "x", "金鱼|红鱼"), row(6, "赤鱼", "y", "红鱼|小鱼")), count=6)
    assert built.left_out["name is a synonym of another class"] == 1
    assert "i0001" not in built.class_list.ids
    names = dict(zip(built.class_list.ids, built.class_list.names, strict=True))
    assert (names["i0005"], names["i0006"]) == (("锦鱼",), ("赤鱼", "小鱼"))


def test_translation_back_must_share_a_word_with_the_english_names(write):
    back = {"丁鲷": "the Tench", "金鱼": "a fish", "老虎": "tigers of the", "跑车": "cars, sports", "卫生纸": None}
    built = build_class_list(write(), count=2, back_translate=lambda names: [back[name] for name in names])
    assert built.class_list.ids == ("i0000", "i0817")
    assert built.left_out["translated back, another word"] == 3


def test_words_that_say_nothing_are_not_compared(write):
    names = {1: ("猫", "cat of the sea"), 2: ("狗", "dog"), 3: ("鸟", "bird")}
    built = build_class_list(
        write(names=names),
        count=2,
        back_translate=lambda texts: [{"猫": "king of the hill"}.get(t, "dog bird") for t in texts],
    )
    assert built.class_list.ids == ("i0002", "i0003")


def test_too_few_classes_are_refused_with_the_counts(write):
    with pytest.raises(ValueError, match=r"5 of 11 classes .* \(name of two classes: 6\), and 200 are wanted"):
        build_class_list(write())
    with pytest.raises(ValueError, match="and 1 are wanted"):
        build_class_list(write(), count=1)
    (write().parent / "no.tsv").write_text("class_id\tname_zh\na\t猫\nb\t狗\n", "utf-8")
    with pytest.raises(ValueError, match="has no column name_en, only class_id, name_zh"):
        build_class_list(write().parent / "no.tsv", count=2, back_translate=list)


def test_written_list_is_read_as_it_was_built_and_tells_its_rule(write, tmp_path):
    source = write(row(5, "锦鱼", "x", "红鱼"))
    built = write_class_list(source, tmp_path / "out" / "ours.tsv", count=6)
    text = (tmp_path / "out" / "ours.tsv").read_text("utf-8")
    assert read_class_list(tmp_path / "out" / "ours.tsv") == built.class_list
    assert read_class_list(tmp_path / "out" / "ours.tsv", "en").names[1] == ("goldfish",)
    assert all(f"# ({part}) {RULE[part]}" in text for part in "abd")
    assert "(c)" not in text
    about = json.loads((tmp_path / "out" / "ours.json").read_text("utf-8"))
    assert about["sha256"] == built.class_list.sha256
    assert about["sha256"] in text
    assert about["source"] == {"file": "all.tsv", "sha256": hash_file(source), "classes": 12}
    assert Counter(about["left_out"]) == built.left_out
    assert about["examples"]["name of two classes"][0] == "i0837 太阳镜"


def test_same_source_gives_the_same_bytes(write, tmp_path):
    for name in ("one", "two"):
        write_class_list(write(), tmp_path / name / "list.tsv", count=4)
    for file in ("list.tsv", "list.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_source_is_not_replaced(write, tmp_path):
    source = write()
    with pytest.raises(ValueError, match="is what is read and would be replaced"):
        write_class_list(source, source, count=4)
    with pytest.raises(ValueError, match="is the name of the report"):
        write_class_list(source, tmp_path / "list.json", count=4)


def run(*arguments):
    return CliRunner().invoke(app, ["data", "class-list", *map(str, arguments)])


def test_command_writes_the_list_and_prints_the_counts(write, tmp_path):
    result = run(write(), "--output", tmp_path / "list.tsv", "--count", 5)
    assert result.exit_code == 0, result.output
    assert "5 of 11 classes" in result.stdout
    assert "6  name of two classes" in result.stdout
    assert (tmp_path / "list.json").is_file()


def test_command_refuses_in_a_line(write, tmp_path):
    result = run(write(), "--output", tmp_path / "list.tsv", "--back-translate", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "There is no model folder" in result.output
    assert not (tmp_path / "list.tsv").exists()


class TranslatorOfTwo:
    """Stands for a model that translates 金鱼 and 老虎 right, and everything else as "thing"."""

    tokenizer = SimpleNamespace()

    def __init__(self, name, **options):
        self.identity = {"name": name, "sha256": "of the model"}

    def translate(self, texts, direction, settings):
        return [Translation({"金鱼": "a goldfish", "老虎": "the tiger"}.get(text, "thing")) for text in texts]


def test_command_translates_back_with_a_model(write, tmp_path, monkeypatch):
    monkeypatch.setattr("wenlan.data.translation.model.TranslationModel", TranslatorOfTwo)
    result = run(write(), "--output", tmp_path / "list.tsv", "--count", 2, "--back-translate", "x/{source}-{target}")
    assert result.exit_code == 0, result.output
    assert read_class_list(tmp_path / "list.tsv").ids == ("i0001", "i0292")
    about = json.loads((tmp_path / "list.json").read_text("utf-8"))
    assert about["back_translation"] == {"name": "x/zh-en", "sha256": "of the model"}
    assert about["rule"] == RULE


def test_counts_of_all_names_of_imagenet(tmp_path):
    names = read_class_names()
    rows = [row(number, *texts) for number, texts in enumerate(zip(names["zh"], names["en"], strict=True))]
    (tmp_path / "imagenet.tsv").write_text("\n".join(rows), "utf-8")
    built = build_class_list(tmp_path / "imagenet.tsv")
    assert built.left_out == {
        "other characters than Han": 6,
        "longer than 8 characters": 5,
        "name of two classes": 6,
    }
    assert built.class_list.ids[:3] == ("i0000", "i0004", "i0008")  # floor(983 / 200) = 4
    assert len(built.class_list) == 200
