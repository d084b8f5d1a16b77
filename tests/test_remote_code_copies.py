"""What published code must hold itself, since it imports nothing from other folders, is what the package has once."""

import os

import pytest
from helpers.paths import ROOT
from wenlan.data.files import bounded
from wenlan.data.mlmm import corpus
from wenlan.data.pairs import dataset
from wenlan.data.rows import languages, scripts, text
from wenlan.modeling_brivl import momentum_queue
from wenlan.modeling_mlmm import pretraining
from wenlan.processing import image_decoding, processing_mlmm, text_inputs

MODELS = ("brivl", "mlmm", "region_detector")


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


def test_pretraining_tasks_are_the_same():
    assert pretraining.TASKS == corpus.TASKS


def test_number_of_no_group_is_the_same():
    assert momentum_queue.NO_GROUP == dataset.NO_GROUP


def test_arrays_are_read_alike():
    copies = [
        (ROOT / folder / "array_images.py").read_text("utf-8") for folder in ("processing", "modeling_region_detector")
    ]
    assert copies[0] == copies[1]


def test_models_have_the_same_base():
    copies = {(ROOT / f"modeling_{name}" / "base_model.py").read_text("utf-8") for name in MODELS}
    assert len(copies) == 1


@pytest.mark.parametrize("name", ["folder", "pipe", "device", "huge", "missing"])
def test_files_of_strangers_are_refused_alike(name, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(6 * 2**30)
    with pytest.raises((ValueError, FileNotFoundError)):
        bounded.read_bounded(tmp_path / name, max_bytes=image_decoding.MAX_BYTES)
    with pytest.raises(image_decoding.ImageDecodingError, match=name):
        image_decoding.decode_image(tmp_path / name)


def test_limit_of_a_text_is_the_same():
    assert text_inputs.MAX_CHARACTERS == text.MAX_CHARACTERS
