import subprocess
import sys

import pytest
from wenlan.data.pairs.caption_groups import caption_group


@pytest.mark.parametrize("same", ["A red car", " a  RED\tcar\n", "a red car"])
def test_captions_that_differ_in_case_and_white_space_are_one_group(same):
    assert caption_group(same) == caption_group("a red car")


def test_groups_are_63_bit_numbers_never_negative_and_rarely_equal():
    groups = {caption_group(str(number)) for number in range(2000)}
    assert len(groups) == 2000
    assert min(groups) >= 0
    assert 2**62 < max(groups) < 2**63


def test_group_is_the_same_in_another_process():
    script = "from wenlan.data.pairs.caption_groups import caption_group; print(caption_group('红色的车'))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(printed) == caption_group("红色的车") == 7133168813308504965
