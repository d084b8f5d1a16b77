import pytest
from helpers.few_shot import save_models
from wenlan.training.word_neighbors.spaces import SpaceSettings, open_spaces


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


def test_spaces_are_those_of_the_paper_then_the_control(folders, tmp_path):
    options = {"further_steps": 2, "other_seed": True, "pool": "cls", "seed": 5}
    settings = SpaceSettings([folders["brivl"], folders["masked_lm"]], folders["encoder"], **options)
    found = list(open_spaces(settings, tmp_path))
    names = ["encoder alone", "further trained on texts", "brivl", "masked_lm", "further trained, other seed"]
    assert [encoder.name for encoder in found] == settings.names == names
    assert [encoder.pool for encoder in found] == ["cls", "cls", "features", "cls", "cls"]
    assert len({encoder.digest for encoder in found}) == 5
    assert settings.reference == names[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["further_trained_5", "further_trained_6"]
    again = list(open_spaces(settings, tmp_path))
    assert [encoder.digest for encoder in again] == [encoder.digest for encoder in found]


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["a"], {"text_encoder": "none"}, "There is nothing to compare"),
        ([], {"further_steps": 0}, "There is nothing to compare"),
        (["x/a", "y/a"], {}, "Two models have one name"),
        (["encoder alone"], {}, "Two models have one name"),
        (["a"], {"other_seed": True, "further_steps": 0}, "other_seed trains the text encoder once more"),
        (["a", "b"], {"text_encoder": "none", "other_seed": True}, "other_seed trains the text encoder once more"),
        (["a"], {"languages": ["xx"]}, "emoji7 has no language 'xx'"),
        (["a"], {"device": "gpu"}, "The device 'gpu' cannot be used"),
    ],
)
def test_options_that_do_not_fit_are_told(models, options, message):
    with pytest.raises(ValueError, match=message):
        SpaceSettings(models, **options)


def test_first_of_other_models_is_the_reference(folders, tmp_path):
    settings = SpaceSettings([folders["masked_lm"], folders["brivl"]], "none")
    assert settings.reference == "masked_lm"
    assert [encoder.name for encoder in open_spaces(settings, tmp_path)] == ["masked_lm", "brivl"]


def test_model_that_is_not_there_is_told_before_any_training(folders, tmp_path):
    settings = SpaceSettings([str(tmp_path / "none")], folders["encoder"])
    with pytest.raises(FileNotFoundError, match="none"):
        next(open_spaces(settings, tmp_path))
