from dataclasses import replace

import pytest
import torch
from helpers.mlmm.corpus_files import INFO
from helpers.mlmm.xlm_r import write_xlm_r
from helpers.training.recipes import SMALL_MLMM
from huggingface_hub.errors import StrictDataclassClassValidationError
from wenlan.data.regions.schema import RegionInfo
from wenlan.modeling_mlmm import MLMMForMaskedLM, MLMMForPreTraining
from wenlan.processing import load_small_tokenizer
from wenlan.training.mlmm.model import MLMMArguments, build_config, build_model, load_processor
from wenlan.training.recipe import parse_recipe
from wenlan.training_scripts.pretrain_mlmm import ARGUMENTS

VISUAL_GENOME = RegionInfo(model_hash="x", feature_dim=2048, num_classes=1601, background_index=0)


def build(args, info=INFO):
    processor = load_processor(args, info)
    return build_model(args, processor, info), processor


@pytest.fixture
def saved(tmp_path):
    """The folder of an MLMM for made-up regions."""
    model, processor = build(MLMMArguments(model_config=SMALL_MLMM))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return str(tmp_path)


def test_sizes_come_from_tokenizer_and_regions():
    model, processor = build(MLMMArguments(model_config=SMALL_MLMM, detector="runs/detector"))
    config = model.config
    assert (config.vocab_size, config.region_feature_dim) == (len(processor.tokenizer), 6)
    assert (config.num_region_classes, config.region_background_index) == (5, 4)
    assert (processor.detector, processor.min_boxes, processor.max_boxes) == ("runs/detector", 1, 4)


def test_base_recipe_is_xlm_r_base_over_the_regions_of_visual_genome(tmp_path):
    model_args = parse_recipe(ARGUMENTS, ["mlmm_base", "--output_dir", str(tmp_path), "--bf16", "false"])[0]
    assert model_args.text_weights == "FacebookAI/xlm-roberta-base"
    tokenizer = load_small_tokenizer()
    with torch.device("meta"):
        model = MLMMForPreTraining(build_config(replace(model_args, text_weights=None), tokenizer, VISUAL_GENOME))
    layers = sum(parameter.numel() for parameter in model.mlmm.encoder.parameters())
    assert layers == 12 * (4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768)
    assert model.mrc_head.classifier.out_features == 1601
    assert model.mlmm.region_embeddings.feature_projection.in_features == 2048


@pytest.fixture
def xlm_r(tmp_path):
    return write_xlm_r(tmp_path, SMALL_MLMM)


def test_xlm_r_gives_sizes_tokenizer_and_weights(xlm_r, tmp_path):
    model, processor = build(MLMMArguments(text_weights=str(tmp_path)))
    assert model.config.hidden_size == 24
    model.save_pretrained(tmp_path / "mlmm")
    inputs = processor(text=["a lion and a fox", "ライオン"])
    ours = MLMMForMaskedLM.from_pretrained(tmp_path / "mlmm").eval()(**inputs).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(ours[real], xlm_r(**inputs).logits[real], atol=1e-5, rtol=0)


def test_recipe_that_contradicts_the_xlm_r_is_refused_with_both_sizes(xlm_r, tmp_path):
    with pytest.raises(ValueError, match=r"model_config has hidden_size=48, and the model in .* has hidden_size=24:"):
        build(MLMMArguments(text_weights=str(tmp_path), model_config={"hidden_size": 48}))


def test_folder_of_an_mlmm_brings_weights_and_processor(saved):
    model, processor = build(MLMMArguments(init_from=saved))
    again, _ = build(MLMMArguments(init_from=saved))
    assert processor.region_feature_dim == 6
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_folder_of_an_mlmm_may_be_trained_in_another_way(saved):
    model, _ = build(MLMMArguments(init_from=saved, model_config={"mrc_reduction": "batchmean"}))
    assert model.config.mrc_reduction == "batchmean"


def test_folder_of_an_mlmm_keeps_its_sizes(saved):
    with pytest.raises(ValueError, match=r"model_config has num_hidden_layers=7, and the model .*=2: leave that"):
        build(MLMMArguments(init_from=saved, model_config={"num_hidden_layers": 7}))


def test_trained_pooler_is_not_read_from_another_state(saved):
    with pytest.raises(ValueError, match=r"pooling='mean', and the model in .* has pooling='cls'"):
        build(MLMMArguments(init_from=saved, model_config={"pooling": "mean"}))


def test_regions_of_another_width_are_refused_with_both(saved):
    with pytest.raises(ValueError, match=r"features of 8 numbers, and the model in .* reads 6"):
        build(MLMMArguments(init_from=saved), replace(INFO, feature_dim=8))


def test_regions_of_other_classes_are_refused_with_both(saved):
    with pytest.raises(ValueError, match=r"9 classes, and the model in .* reads 5"):
        build(MLMMArguments(init_from=saved), replace(INFO, num_classes=9))


def test_misspelt_field_of_the_configuration_is_named():
    with pytest.raises(ValueError, match=r"hiden_size \(did you mean hidden_size\?\)"):
        build(MLMMArguments(model_config={"hiden_size": 24}))


def test_fewer_layers_are_the_lowest_of_the_xlm_r(xlm_r, tmp_path):
    model, processor = build(MLMMArguments(text_weights=str(tmp_path), model_config={"num_hidden_layers": 1}))
    inputs = processor(text=["a lion and a fox", "ライオン"])
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        ours = model.eval().mlmm(**inputs).text_states
        lowest = xlm_r(**inputs, output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(ours[real], lowest[real], atol=1e-6, rtol=0)


def test_more_layers_than_the_xlm_r_has_are_refused(xlm_r, tmp_path):
    with pytest.raises(ValueError, match=r"num_hidden_layers=3, and the model in .* has num_hidden_layers=2: leave"):
        build(MLMMArguments(text_weights=str(tmp_path), model_config={"num_hidden_layers": 3}))


def test_frozen_layers_stay_frozen_in_the_saved_model_too(xlm_r, tmp_path):
    changes = {"frozen_layers": 1, "freeze_word_embeddings": True}
    model, _ = build(MLMMArguments(text_weights=str(tmp_path), model_config=changes))
    model.save_pretrained(tmp_path / "mlmm")
    for one in (model, MLMMForPreTraining.from_pretrained(tmp_path / "mlmm")):
        frozen = {name for name, value in one.named_parameters() if not value.requires_grad}
        lowest = {name for name, _ in one.named_parameters() if ".layer.0." in name}
        assert frozen == lowest | {"mlmm.text_embeddings.word_embeddings.weight"}


def test_more_frozen_layers_than_there_are_layers_are_refused():
    with pytest.raises(StrictDataclassClassValidationError) as error:
        MLMMArguments(model_config=SMALL_MLMM | {"frozen_layers": 3})
    assert "frozen_layers=3 is not in 0..2, the layers" in str(error.value.__cause__)


def test_captions_that_the_xlm_r_has_no_positions_for_are_refused(xlm_r, tmp_path):
    build(MLMMArguments(text_weights=str(tmp_path), max_text_length=66))
    with pytest.raises(ValueError, match=r"texts of 69 tokens, .* has positions for 68: lower max_text_length by 1"):
        build(MLMMArguments(text_weights=str(tmp_path), max_text_length=67))


def test_xlm_r_with_more_rows_than_its_tokenizer_has_pieces_is_taken(tmp_path):
    rows = write_xlm_r(tmp_path, SMALL_MLMM, spare_rows=35).config.vocab_size
    assert rows == len(load_small_tokenizer()) + 35
    model, _ = build(MLMMArguments(text_weights=str(tmp_path)))
    assert model.config.vocab_size == rows


def test_processor_keeps_the_hash_of_the_detector_and_refuses_another(saved):
    assert load_processor(MLMMArguments(init_from=saved), INFO).detector_hash == INFO.model_hash
    with pytest.raises(ValueError, match=f"of the detector other, .* those of {INFO.model_hash}"):
        load_processor(MLMMArguments(init_from=saved), replace(INFO, model_hash="other"))
