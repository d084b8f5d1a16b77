import hashlib

import pytest
from wenlan.data import ClassList, read_class_list

ROWS = "n1\t丁鲷\ttench\nn2\t金鱼\tgoldfish\t鱼|锦鱼\n"
THREE = ClassList(("a", "b", "c"), (("猫", "小猫"), ("狗",), ("鸟",)))


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes):
        (tmp_path / "classes.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "classes.tsv"

    return write


def refusal(path, language="zh"):
    with pytest.raises(ValueError, match=r"classes\.tsv") as caught:
        read_class_list(path, language)
    return str(caught.value)


def test_names_and_synonyms_are_read_in_the_order_of_the_rows(write):
    found = read_class_list(write("# ours\n\n" + ROWS))
    assert found == ClassList(("n1", "n2"), (("丁鲷",), ("金鱼", "鱼", "锦鱼")))
    assert len(found) == 2


def test_mark_of_utf_8_line_ends_of_windows_and_a_missing_last_one_change_nothing(write):
    assert read_class_list(write("\ufeff" + ROWS.strip().replace("\n", "\r\n"))) == read_class_list(write(ROWS))


def test_english_is_the_third_column(write):
    assert read_class_list(write(ROWS), "en").names == (("tench",), ("goldfish",))


def test_header_names_the_columns_of_other_languages(write):
    text = "class_id\tname_de\tsynonyms_de\tname_zh\nn1\tSchleie\t\t丁鲷\nn2\tGoldfisch\tFisch| Roter  Fisch |\t金鱼\n"
    found = read_class_list(write(text), "de")
    assert found.names == (("Schleie",), ("Goldfisch", "Fisch", "Roter Fisch"))
    assert read_class_list(write(text)).names == (("丁鲷",), ("金鱼",))


def test_name_among_its_own_synonyms_counts_once(write):
    assert read_class_list(write("a\t猫\tcat\t猫|小猫\nb\t狗")).names[0] == ("猫", "小猫")


def test_hash_is_of_the_lines_that_the_docstring_says():
    assert THREE.sha256 == hashlib.sha256("a\t猫\t小猫\nb\t狗\nc\t鸟\n".encode()).hexdigest()
    assert THREE.permuted(0).sha256 != THREE.sha256 != THREE.select("ab").sha256


@pytest.mark.parametrize("seed", range(20))
def test_permuted_names_are_those_of_other_classes(seed):
    permuted = THREE.permuted(seed)
    assert permuted.ids == THREE.ids
    assert sorted(permuted.names) == sorted(THREE.names)
    assert not any(new == own for new, own in zip(permuted.names, THREE.names, strict=True))
    assert permuted == THREE.permuted(seed)


def test_permutations_differ_by_seed():
    assert len({THREE.permuted(seed).names for seed in range(20)}) == 2  # three classes have no more


def test_classes_that_may_share_a_name_are_counted_and_permuted_to_other_names():
    names = (("猫",), ("狗",), ("Ａ",), ("猫", "虎"), ("a",), ("鸟",))
    shared = ClassList(tuple("abcdef"), names, repeated_names=True)
    assert (shared.sharing_a_name, THREE.sharing_a_name, shared.select("abcf").sharing_a_name) == (4, 0, 0)
    for seed in range(20):
        permuted = shared.permuted(seed).names
        assert not any({"猫"} & {*new} & {*old} for new, old in zip(permuted, names, strict=True))
        assert not any({"Ａ", "a"} >= {*new, *old} for new, old in zip(permuted, names, strict=True))
    with pytest.raises(ValueError, match="class a: the name is blank"):
        ClassList(("a", "b"), ((" ",), ("猫",)), repeated_names=True)


def test_too_many_classes_of_one_name_have_no_permutation():
    with pytest.raises(ValueError, match="2 of 3 classes share a name, too many for a control"):
        ClassList(("a", "b", "c"), (("猫",), ("猫",), ("狗",)), repeated_names=True).permuted(0)


def test_selected_classes_keep_their_order():
    assert THREE.select(["c", "a"]) == ClassList(("a", "c"), (("猫", "小猫"), ("鸟",)))
    with pytest.raises(ValueError, match="No class has the id 'x'"):
        THREE.select(["a", "x"])
    with pytest.raises(ValueError, match="There are 1 classes"):
        THREE.select(["a"])


@pytest.mark.parametrize(
    ("ids", "names", "message"),
    [
        (("a",), (("猫",),), "1 classes"),
        (("a", "b"), (("猫",),), "2 ids and 1 names"),
        (("a", "a"), (("猫",), ("狗",)), "Two classes have the id 'a'"),
        (("a", "b"), (("猫",), ()), "class b: the name is blank"),
        (("a", "b"), (("猫",), ("狗", "猫")), "class a and class b have one name, '猫'"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(ids, names, message):
    with pytest.raises(ValueError, match=message):
        ClassList(ids, names)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a\t猫\nb\t狗\na\t鸟", "rows 1 and 3 have one class_id, 'a'"),
        ("a\t猫\nb\t狗\nc\t猫", "row 1 and row 3 have one name, '猫'"),
        ("a\t猫\t\t狗\nb\t狗", "row 1 and row 2 have one name, '狗'"),
        ("a\t猫\t\t鸟\nb\t狗\t\t鸟", "row 1 and row 2 have one name, '鸟'"),
        ("a\tＡ猫\nb\ta猫", "row 1 and row 2 have one name, 'a猫'"),
        ("a\t猫\nb\t \nc\t鸟", "row 2: the name is blank"),
        ("a\t猫\nb\nc\t鸟", "row 2: the name is blank"),
        ("a\t猫\n\t狗", "row 2 has no class_id"),
        ("a\t猫\tcat\t小猫\tx\nb\t狗", "row 1 has 5 cells, more than the columns class_id, name_zh"),
        ("a\t猫", "holds one class; a classification needs two"),
        ("", "holds no class; write one a row"),
        ("# nothing\n\n", "holds no class; write one a row"),
        ("class_id\tname_zh\n", "holds no class; write one a row"),
        ("class_id\tname_zu\na\t猫", "unknown column 'name_zu'; do you mean name_zh"),
        ("class_id\tname_zh\tname_zh\na\t猫", "has the column name_zh twice"),
        ("class_id\tname_de\na\tKatze\nb\tHund", "has no column name_zh, only class_id, name_de; add it"),
        ("a\t金鱼\nb\t狗".encode("gb18030"), "row 1: not UTF-8; save the file as UTF-8"),
        ("a\tA\nb\tB".encode("utf-16-le"), "row 1: not UTF-8; save the file as UTF-8"),
    ],
)
def test_wrong_file_is_refused_with_its_rows(rows, message, write):
    assert message in refusal(write(rows))


def test_missing_column_of_a_language_is_named(write):
    assert "has no column name_de, only class_id, name_zh, name_en" in refusal(write(ROWS), "de")
    assert "row 2: the name is blank" in refusal(write("a\t猫\tcat\nb\t狗\n"), "en")
    with pytest.raises(ValueError, match="'xx' is none of the languages"):
        read_class_list(write(ROWS), "xx")


def test_up_to_five_faults_are_named_and_all_counted(write):
    message = refusal(write("a\t猫\n" + "".join(f"b{number}\t猫\n" for number in range(8))))
    assert "row 1 and row 6 have one name" in message
    assert "row 7" not in message
    assert "and 3 more" in message


def test_folder_and_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no regular file but a folder"):
        read_class_list(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_class_list(tmp_path / "none.tsv")
