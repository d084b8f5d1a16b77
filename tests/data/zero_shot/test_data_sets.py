"""What a zero-shot classification runs on."""

import pytest
from helpers.class_folders import write_class_file, write_class_folders
from wenlan.data.zero_shot.class_list import ClassList
from wenlan.data.zero_shot.data_sets import ZeroShotData, emoji7_data, own_data, suite_data
from wenlan.data.zero_shot.templates import load_templates


def test_emoji7_has_the_unseen_style_with_names_in_every_language():
    data = emoji7_data(["zh", "cs"])
    images = data.open_images(limit=3)
    assert (len(data.class_ids), len(images.kept), images.count) == (1198, 1198, 3)
    assert data.classes["cs"].ids == data.classes["zh"].ids
    assert data.classes["zh"].names[0] == ("嘿嘿",)
    assert data.templates["cs"] == load_templates("cs")


def test_own_data_take_a_file_of_templates_for_each_language(tmp_path):
    file = tmp_path / "classes.tsv"
    file.write_text("class_id\tname_zh\tname_en\na\t猫\tcat\nb\t狗\tdog\n", "utf-8")
    (tmp_path / "zh.txt").write_text("这是{}", "utf-8")
    (tmp_path / "en.txt").write_text("a {}", "utf-8")
    folder = write_class_folders(tmp_path / "pets", {"a": 1, "b": 1})
    data = own_data(folder, file, ["en", "zh"], [tmp_path / "en.txt", tmp_path / "zh.txt"])
    assert data.name == "pets"
    assert data.templates == {"en": ("a {}",), "zh": ("这是{}",)}
    assert data.classes["en"].names == (("cat",), ("dog",))
    with pytest.raises(ValueError, match="1 files of templates for 2 languages"):
        own_data(folder, file, ["en", "zh"], [tmp_path / "en.txt"])
    with pytest.raises(ValueError, match="give each once"):
        own_data(folder, file, ["zh", "zh"])
    with pytest.raises(ValueError, match="one language or more"):
        own_data(folder, file, [])


def test_languages_have_the_same_classes(tmp_path):
    lists = {"zh": ClassList(("a", "b"), (("猫",), ("狗",))), "en": ClassList(("a", "c"), (("cat",), ("dog",)))}
    with pytest.raises(ValueError, match="classes in en have other ids than those in zh"):
        ZeroShotData("x", tmp_path, lists, {})


def test_suite_gives_its_data_sets(tmp_path):
    write_class_folders(tmp_path / "pets", {"cat": 1, "apple": 2})
    write_class_file(tmp_path / "classes.tsv")
    entry = "- name: {}\n  images: pets\n  classes: classes.tsv\n"
    (tmp_path / "suite.yaml").write_text(entry.format("one") + entry.format("two"), "utf-8")
    one, two = suite_data(tmp_path / "suite.yaml")
    assert (one.name, two.name) == ("one", "two")
    assert two.open_images().count == 3
    assert one.templates == {"zh": load_templates("zh")}
    (tmp_path / "suite.yaml").write_text(entry.format("../up"), "utf-8")
    with pytest.raises(ValueError, match=r"the name '../up' is to be a folder's"):
        suite_data(tmp_path / "suite.yaml")
