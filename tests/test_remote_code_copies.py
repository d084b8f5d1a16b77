"""What published code must hold itself, since it imports nothing from other folders, is what the package has once."""

import pytest
from wenlan.data.mlmm import corpus
from wenlan.data.pairs import dataset
from wenlan.data.rows import languages, scripts, text
from wenlan.modeling_brivl import momentum_queue
from wenlan.modeling_mlmm import pretraining
from wenlan.processing import processing_mlmm, text_inputs


def test_languages_are_the_same():
    assert processing_mlmm.LANGUAGES == languages.LANGUAGES
    assert set(scripts.SCRIPTS) == set(languages.LANGUAGES)


@pytest.mark.parametrize("given", [None, "cs", ["zh", "ko"], "xx", ["zh", "EN", "xx"], []])
def test_languages_are_checked_alike(given):
    def message(check):
        try:
            check(given)
        except ValueError as error:
            return str(error)

    assert message(processing_mlmm.check_languages) == message(languages.check_languages)


@pytest.mark.parametrize("given", ["", " ", "\u200b\ufeff", "\x00\t", "\u3000", "猫", " a ", "\u00ad", "🦊"])
def test_blank_texts_are_the_same(given):
    assert text_inputs.is_blank(given) == text.is_blank(given)


def test_pretraining_tasks_are_the_same():
    assert pretraining.TASKS == corpus.TASKS


def test_number_of_no_group_is_the_same():
    assert momentum_queue.NO_GROUP == dataset.NO_GROUP
