"""Checks of the texts that a processor gets."""

import pytest
from wenlan.processing.text_inputs import read_texts


@pytest.mark.parametrize("texts", ["一只猫", ["a cat", "猫"], ("a cat",), []])
def test_texts_pass(texts):
    assert read_texts(texts) == (texts if isinstance(texts, str) else list(texts))


@pytest.mark.parametrize(
    ("texts", "message"),
    [("", "Text 0 is blank"), (["a cat", "\u200b"], "Text 1 is blank"), (["a cat", 3], "Text 1 is a int; expected")],
)
def test_text_that_cannot_be_read_is_named_by_its_number(texts, message):
    with pytest.raises(ValueError, match=message):
        read_texts(texts)
