import pytest
from wenlan.data import LANGUAGES, load_templates, read_templates


def refusal(tmp_path, text):
    (tmp_path / "templates.txt").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"templates\.txt") as caught:
        read_templates(tmp_path / "templates.txt")
    return str(caught.value)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_five_templates_and_the_bare_name_first(language):
    templates = load_templates(language)
    assert (len(templates), templates[0]) == (5, "{}")


def test_unknown_language_is_refused():
    with pytest.raises(ValueError, match="'xx' is none of the languages"):
        load_templates("xx")


def test_own_templates_are_read_without_comments_and_blank_lines(tmp_path):
    (tmp_path / "own.txt").write_text("# ours\n{}\n\n 一幅{}的画 \n{x}和{}", "utf-8")
    assert read_templates(tmp_path / "own.txt") == ("{}", "一幅{}的画", "{x}和{}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}\n照片", "row 2, '照片', has 0 places {} for the name"),
        ("一张{c}的照片", "row 1, '一张{c}的照片', has 0 places {}"),
        ("{}和{}", "row 1, '{}和{}', has 2 places {}"),
        ("{}\n照片{}\n{} ", "rows 1 and 3 are the same template, '{}'"),
        ("# nothing", "holds no template; write one a line"),
    ],
)
def test_wrong_templates_are_refused_with_their_rows(text, message, tmp_path):
    assert message in refusal(tmp_path, text)


def test_other_encodings_folders_and_missing_files_are_refused(tmp_path):
    (tmp_path / "gb.txt").write_bytes("{}\n照片{}".encode("gb18030"))
    with pytest.raises(ValueError, match=r"gb\.txt, row 2: not UTF-8; save the file as UTF-8"):
        read_templates(tmp_path / "gb.txt")
    with pytest.raises(ValueError, match="is no regular file but a folder"):
        read_templates(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_templates(tmp_path / "none.txt")
