import pytest
from helpers.finetuning.retrieval_models import save_pretrained_mlmm
from wenlan.training.mlmm.model import detect_model_type


def test_kind_is_that_of_the_configuration(tmp_path):
    assert detect_model_type(save_pretrained_mlmm(tmp_path)) == "mlmm"


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"init_from is '.*gone', where there is no model"):
        detect_model_type(str(tmp_path / "gone"))


def test_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"init_from is '{tmp_path}', where there is no model"):
        detect_model_type(str(tmp_path))
