import pytest
from wenlan.data.csldcp.label_words import check_label_words, label_words, read_class_map


def test_words_are_the_first_two_different_characters_that_are_free():
    names = ["数学", "公共卫生与预防医学", "公共管理", "农业工程", "农业资源利用", "畜牧学/兽医学", "图图、书"]
    assert label_words(names) == ["数学", "公共", "公管", "农业", "农资", "畜牧", "图书"]


@pytest.mark.parametrize("names", [["学学"], ["数学", "数学"]])
def test_name_without_a_free_pair_is_an_error(names):
    with pytest.raises(ValueError, match="has no two different characters that are free; give --label_words"):
        label_words(names)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["数", "物理"], "The label word of 数学 is '数'; give 2"), (["数理", "数理"], "数学 and 物理学 have the same")],
)
def test_word_of_wrong_length_or_of_two_classes_is_an_error(words, message):
    with pytest.raises(ValueError, match=message):
        check_label_words(words, ["数学", "物理学"])
    assert check_label_words(["数学", "物理"], ["数学", "物理学"]) == ["数学", "物理"]


def test_map_is_read_without_its_comments(tmp_path):
    (tmp_path / "map.tsv").write_text("# by hand\n数学\t理学\n\n力学\t工学\n", "utf-8")
    assert read_class_map(tmp_path / "map.tsv") == {"数学": "理学", "力学": "工学"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("数学 理学\n", "line 1: '数学 理学' is not class"), ("a\tb\na\tc\n", "line 2: a is there twice")],
)
def test_map_of_another_form_is_an_error_with_its_line(tmp_path, text, message):
    (tmp_path / "map.tsv").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_class_map(tmp_path / "map.tsv")
