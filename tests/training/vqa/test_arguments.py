from dataclasses import replace

import pytest
from helpers.finetuning.vqa_sample import train_on, write_arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": ["a", "b"]}, "2 annotations for 1 files"),
        ({"languages": ["en", "ja", "en"]}, "3 languages for 1 files"),
        ({"languages": ["xx"]}, "no language 'xx'"),
    ],
)
def test_lists_that_do_not_go_together_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train_on(replace(write_arguments(tmp_path), **changes))


@pytest.mark.parametrize(
    ("changes", "predict_only", "message"),
    [
        ({"questions": []}, False, "no questions to train on"),
        ({"test_questions": []}, True, "no test_questions to answer"),
        ({"regions": [], "test_regions": []}, False, "test_questions without test_regions; questions without regions"),
    ],
)
def test_what_is_missing_is_said_at_once(tmp_path, changes, predict_only, message):
    with pytest.raises(ValueError, match=message):
        replace(write_arguments(tmp_path), **changes).folders(predict_only=predict_only)


def test_predicting_needs_no_regions_of_training(tmp_path):
    args = replace(write_arguments(tmp_path), regions=[])
    assert args.folders(predict_only=True) == [args.test_regions]
