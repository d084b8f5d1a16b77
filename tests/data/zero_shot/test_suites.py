import json

import pytest
from wenlan.data import ClassList, load_templates
from wenlan.data.zero_shot.suites import SuiteEntry, read_suite

OURS = ClassList(("a", "b"), (("猫",), ("狗",)))
NAMES = {"pets": ["cat", "dog"], "birds": ["jay", "hen", "owl"], "pairs": ["cat", "cat"]}


@pytest.fixture
def folder(tmp_path):
    for name in ("own/a", "own/b", "elevater/test/000", "elevater/test/001", "bare/x", "bare/y"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shards-0.tar").write_bytes(b"")
    (tmp_path / "classes.tsv").write_text("a\t猫\nb\t狗\n", "utf-8")
    (tmp_path / "own.txt").write_text("一幅{}的画\n", "utf-8")
    (tmp_path / "names.json").write_text(json.dumps(NAMES), "utf-8")
    (tmp_path / "list.json").write_text(json.dumps(["猫", "狗"]), "utf-8")
    (tmp_path / "templates.json").write_text(json.dumps({"pets": ["a {c}.", "the {c}!"], "bad": ["a"]}), "utf-8")
    for where in ("elevater", "bare"):
        (tmp_path / where / "label_cn.txt").write_text("猫\n狗\n", "utf-8")
        (tmp_path / where / "label.txt").write_text("cat\ndog\n", "utf-8")
    return tmp_path


def read(folder, text):
    (folder / "suite.yaml").write_text(text, "utf-8")
    return read_suite(folder / "suite.yaml")


def refusal(folder, text):
    with pytest.raises(ValueError, match=r"suite\.yaml") as caught:
        read(folder, text)
    return str(caught.value)


def test_paths_are_relative_to_the_suite_and_defaults_are_chinese(folder):
    own = SuiteEntry("own", str(folder / "own"), OURS, load_templates("zh"), "zh")
    assert read(folder, "- {name: own, images: own, classes: classes.tsv}") == [own]
    text = f"- {{name: own, images: {folder}/own, classes: classes.tsv, templates: own.txt}}"
    assert read(folder, text)[0].templates == ("一幅{}的画",)


def test_lists_of_clip_benchmark_are_read_by_data_set(folder):
    (found,) = read(
        folder,
        """
- name: pets
  images: own
  classes: {json: names.json, dataset: pets}
  templates: {json: templates.json, dataset: pets}
  language: en
""",
    )
    assert found.class_list == ClassList(("a", "b"), (("cat",), ("dog",)))
    assert (found.templates, found.language) == (("a {}.", "the {}!"), "en")


def test_classes_of_shards_are_numbered_and_a_bare_list_needs_no_data_set(folder):
    (found,) = read(folder, "- {name: s, images: 'shards-*.tar', classes: {json: list.json}}")
    assert found.class_list == ClassList(("0", "1"), (("猫",), ("狗",)))
    assert found.images == str(folder / "shards-*.tar")


@pytest.mark.parametrize("source", ["classes: {json: names.json, dataset: pairs}, images: own", "elevater: elevater"])
def test_classes_may_share_a_name_where_the_data_set_says_so(source, folder):
    (folder / "elevater" / "label.txt").write_text("cat\ncat\n", "utf-8")
    text = f"- {{name: x, {source}, language: en"
    message = refusal(folder, text + "}")
    assert "have one name, 'cat'" in message
    assert "repeated_names: keep, with which the first wins" in message
    (found,) = read(folder, text + ", repeated_names: keep}")
    assert found.class_list.names == (("cat",), ("cat",))


@pytest.mark.parametrize(("name", "images", "ids"), [("elevater", "elevater/test", "000 001"), ("bare", "bare", "x y")])
def test_elevater_folder_has_names_in_the_order_of_its_folders(name, images, ids, folder):
    chinese, english = read(folder, f"- {{name: zh, elevater: {name}}}\n- {{name: en, elevater: {name}, language: en}}")
    assert chinese.images == english.images == str(folder / images)
    assert chinese.class_list == ClassList(tuple(ids.split()), (("猫",), ("狗",)))
    assert english.class_list.names == (("cat",), ("dog",))
    assert english.templates == load_templates("en")


def test_prompts_of_an_elevater_folder_are_its_templates(folder):
    (folder / "elevater" / "prompts.json").write_text(json.dumps(["a {}.", "one {c}."]), "utf-8")
    assert read(folder, "- {name: e, elevater: elevater}")[0].templates == ("a {}.", "one {}.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: own, classes: classes.tsv", "it has no name"),
        ("name: x, classes: classes.tsv", "it has no images; give a folder"),
        ("name: x, images: own", "it has no classes; give a class file"),
        ("name: x, image: own, classes: classes.tsv", "unknown field 'image'; do you mean images?"),
        ("name: x, images: none, classes: classes.tsv", "none; nothing is downloaded here"),
        ("name: x, images: 'none-*.tar', classes: classes.tsv", "no .tar or .parquet file"),
        ("name: x, images: 3, classes: classes.tsv", "images is 3; give a path"),
        ("name: x, images: own, classes: none.tsv", "There is no file"),
        ("name: x, images: own, classes: classes.tsv, language: xx", "'xx' is none of the languages"),
        ("name: x, images: own, classes: classes.tsv, language: en", "row 1: the name is blank"),
        ("name: x, images: own, classes: {json: names.json, dataset: pet}", "no data set 'pet'; it has pets"),
        ("name: x, images: own, classes: {json: names.json}", "no data set None; it has pets, birds"),
        ("name: x, images: own, classes: {json: names.json, dataset: birds}", "has 3 names, and"),
        ("name: x, images: own, classes: {json: names.json, dataset: pairs}", "class a and class b have one name"),
        ("name: x, images: own, classes: {json: none.json}", "There is no file"),
        ("name: x, images: own, classes: {file: names.json}", "classes has an unknown field 'file'"),
        (
            "name: x, images: own, classes: classes.tsv, templates: {json: templates.json, dataset: bad}",
            "'a' must have",
        ),
        ("name: x, images: own, classes: classes.tsv, templates: classes.tsv", "has 0 places {} for the name"),
        (
            "name: x, images: own, classes: {json: list.json}, repeated_names: yes",
            "repeated_names is True; give keep, or leave it out",
        ),
        (
            "name: x, images: own, classes: classes.tsv, repeated_names: keep",
            "in a class file each class needs its own",
        ),
        ("name: x, elevater: elevater, images: own", "elevater stands for images; give the one or the other"),
        ("name: x, elevater: elevater, language: ja", "There is no file"),
    ],
)
def test_wrong_data_set_is_refused(text, message, folder):
    assert message in refusal(folder, f"- {{{text}}}")


def test_all_errors_are_told_at_once(folder):
    message = refusal(
        folder,
        "- {name: one, images: none, classes: none.tsv}\n- {name: two, images: own, classes: classes.tsv, x: 1}\n"
        "- {name: two, images: own, classes: classes.tsv}\n",
    )
    assert "has 4 errors" in message
    assert message.count("data set 1 (one)") == 2
    assert "data set 2 (two): unknown field 'x'" in message
    assert "data set 3 (two): a data set before has the name 'two', too" in message


@pytest.mark.parametrize("text", ["", "name: x", "- x", "[]"])
def test_what_is_no_list_of_data_sets_is_refused(text, folder):
    assert "is no suite: write a list of data sets" in refusal(folder, text)


def test_broken_yaml_other_encodings_and_missing_files_are_refused(folder):
    assert "is not valid YAML" in refusal(folder, "- {name: x")
    (folder / "gb.yaml").write_bytes("- {name: 金鱼}".encode("gb18030"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_suite(folder / "gb.yaml")
    with pytest.raises(FileNotFoundError, match="There is no suite"):
        read_suite(folder / "none.yaml")
