import pytest
from wenlan.data.rows.printable import printable
from wenlan.data.rows.report import BadRowError, BadRowReport

HOSTILE = {
    "screen": "\x1b[2J\x1b]0;title\x07",
    "c1": "\x9b31m",
    "line ends": "a\r\nError: b\u2028c\x85d",
    "order": "gpj.\u202etxt\u2066\u200f",
    "halves": "\ud800\udcff",
    "nul and delete": "\0\x7f\b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_what_acts_on_a_terminal_is_escaped(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode()
    assert "\n" not in printable(f"a{text}b")


def test_what_can_be_read_stays():
    for text in ("猫の写真.jpg", "Kočka e\u0301", "👩‍👩‍👧 \U0001f1e8\U0001f1ff", "a\u3000b\u00a0c", "می\u200cخواهم"):
        assert printable(text) == text


def test_lines_of_a_message_can_be_kept():
    assert printable("a\n\tb\r\x1b", keep_lines=True) == "a\n\tb\\r\\x1b"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_report_shows_names_and_values_as_text_of_one_line(text):
    report = BadRowReport(f"folder{text}")
    report.add_bad_row(BadRowError("file missing", f"{text}.jpg"), f"{text}/1")
    report.add_repair("box dropped", text, text)
    lines = str(report).split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert all(example.isprintable() for example in report.examples.values())


def test_report_shows_a_beginning_of_what_was_found():
    error = BadRowError("broken line", "x" * 10**6)
    assert len(error.describe("file", 1)) < 500
