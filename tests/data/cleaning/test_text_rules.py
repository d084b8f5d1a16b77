import contextlib
import random
import sys
import time

import pytest
from wenlan.data.cleaning.text_rules import (
    MAX_LENGTH,
    WordList,
    count_han,
    decode_text,
    han_fraction,
    rewrite_text,
    traditional_to_simplified,
)
from wenlan.data.rows.report import BadRowError


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<p>红色&nbsp;的<br/>花</p><p>很好</p>", "红色 的 花 很好"),
        ("一<b>只</b>猫", "一只猫"),
        ("<script>alert('x')</script>你好<style>p {}</style>", "你好"),
        ('<a href="http://t.cn/x?a=1&copy=2">网页</a>链接', "网页链接"),
        ("<p>一<a 只", "一<a 只"),
        ("三<五，我<3你", "三<五，我<3你"),
        ("Q&amp;A 问答", "Q&A 问答"),
        ("看花http://t.cn/Abc123好看", "看花 好看"),
        ("见（https://a.com/?a=1&copy=2）和 WWW.baidu.com搜索", "见（ ）和 搜索"),
        ("转发//@小明-x:好的 ＠小红 邮件abc@qq.com联系", "转发 好的 邮件 联系"),
        ("#北京旅游##美食#今天 #天气 用iPhone#摄影#拍", "北京旅游 美食 今天 天气 用iPhone 摄影 拍"),
        ("C#和F#语言，C++", "C#和F#语言，C++"),
        ("太美了！！！！真的？？。。。～～～", "太美了！真的？。～"),
        ("等等……再说——好", "等等……再说——好"),
        ("等等………………再说", "等等……再说"),
        ("我❤❤❤你", "我❤❤❤你"),
        ("零\u200b宽\ufeff和\x00控\u3000制\ue000", "零宽和控 制"),
        ("👨\u200d👩\u200d👧 一家", "👨\u200d👩\u200d👧 一家"),
        ("cafe\u0301 \uf900", "café 豈"),
    ],
)
def test_page_becomes_a_sentence(raw, clean):
    assert rewrite_text(raw, [decode_text]) == clean


def test_escaped_tags_are_taken_out_too():
    assert rewrite_text("&amp;lt;b&amp;gt;粗体&amp;lt;/b&amp;gt;字", [decode_text]) == "粗体字"


PIECES = [
    *("<b>", "</p>", "<", ">", "&lt;", "&amp;", "lt;", "#", "＃", "@", "http://", "www.", ".", "！", "…", "—", "_"),
    *("\u200b", "e", "\u0301", "豈", "红", "花", " ", "\u3000", "C", ":", "//", "-", "<script>", "😂", "～", "'", '"'),
]


def test_rewriting_twice_changes_nothing():
    draw = random.Random(0)
    settled = 0
    for _ in range(3000):
        text = "".join(draw.choices(PIECES, k=draw.randint(1, 20)))
        try:
            once = rewrite_text(text, [decode_text])
        except BadRowError:
            continue
        settled += 1
        assert rewrite_text(once, [decode_text]) == once
    assert settled > 1000


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (5, "text is no string"),
        ("\udce9", "invalid UTF-8"),
        ("红" * (MAX_LENGTH + 1), "text too long"),
        ("&" + "amp;" * 100 + "lt;", "text escaped over and over"),
        ("<p> </p>", "empty text"),
        ("照片.jpg", "useless text"),
    ],
)
def test_unreadable_text_names_its_cause(text, cause):
    with pytest.raises(BadRowError) as caught:
        rewrite_text(text, [decode_text])
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    "piece", ["<", "<!--", "<a b='", "&#", "<script></", "#", "a@", "a.", "//@", "www.", "!?", "<a "]
)
def test_hostile_text_takes_no_time(piece):
    text = "<b>" + (piece * MAX_LENGTH)[: MAX_LENGTH - 3]
    start = time.process_time()
    with contextlib.suppress(BadRowError):
        rewrite_text(text, [decode_text])
    assert time.process_time() - start < 0.3  # the quadratic parser took 0.8


def test_han_characters_are_counted_in_all_blocks():
    assert count_han("红〇㐀𠀀，かな한abc") == 4


def test_share_leaves_white_space_out():
    assert han_fraction("红 色 ab") == 0.5
    assert han_fraction(" ") == 0.0


def write_words(folder, data):
    file = folder / "words.txt"
    file.write_bytes(data)
    return file


def test_word_list_finds_words_in_any_case(tmp_path):
    words = WordList([write_words(tmp_path, "\ufeff坏词\r\n\r\n Spam \n".encode())])
    assert words.words == {"坏词", "spam"}
    assert words.find("这是坏词吗") == "坏词"
    assert words.find("有SPAM在内") == "spam"
    assert words.find("好话") is None


def test_long_word_list_is_as_quick_as_a_short_one(tmp_path):
    words = WordList([write_words(tmp_path, "\n".join(f"词{i:06}" for i in range(50_000)).encode())])
    start = time.process_time()
    assert not any(words.find("一段没有坏词的普通文字，不长也不短。") for _ in range(2000))
    assert time.process_time() - start < 2  # a search word by word takes more than 10


def test_word_list_that_is_not_utf_8_names_file_and_line(tmp_path):
    with pytest.raises(ValueError, match=r"words\.txt, line 2: not UTF-8"):
        WordList([write_words(tmp_path, "好\n".encode() + "坏词".encode("gb18030"))])


def test_empty_word_list_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no words"):
        WordList([write_words(tmp_path, b"\n \n")])


def test_missing_opencc_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(ImportError, match="pip install opencc"):
        traditional_to_simplified()


def test_traditional_becomes_simplified():
    assert rewrite_text("漢字後面的皇后&amp;頭髮", [decode_text, traditional_to_simplified()]) == "汉字后面的皇后&头发"
