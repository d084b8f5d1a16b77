"""The int8 text tower, and that the reported cosine is the real one."""

import json

import onnx
import pytest
import torch
from helpers.brivl.tiny_folder import SENTENCES, save_tiny_folder
from torch.nn import functional as F
from transformers import AutoProcessor
from wenlan.conversion.int8 import embed_with_onnx, quantize_text_tower
from wenlan.pipelines import embed_texts

pytestmark = pytest.mark.slow  # an export takes long


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """The model, the folder that `quantize_text_tower` made of it, and the report."""
    folder = tmp_path_factory.mktemp("quantized")
    model = save_tiny_folder(folder / "model")
    report = quantize_text_tower(folder / "model", folder / "int8", sentences=SENTENCES)
    return model, folder / "int8", report


def test_folder_holds_the_tower_the_report_and_the_processor(quantized):
    _, folder, report = quantized
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "text_tower.int8.onnx",
        "text_tower.int8.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (folder / "text_tower.int8.onnx").stat().st_size == report.int8_bytes


def test_every_linear_layer_and_the_token_embeddings_are_int8(quantized):
    model, folder, _ = quantized
    graph = onnx.load(folder / "text_tower.int8.onnx").graph
    linear = [module for module in model.text_model.modules() if isinstance(module, torch.nn.Linear)]
    # the fused projection of queries, keys and values in each layer of BriVL's own is no Linear
    products = len(linear) + len(model.text_model.encoder.layers)
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == products
    vocabulary = model.text_model.get_input_embeddings().weight.shape
    bytes_ = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    shapes = {tuple(tensor.dims) for tensor in graph.initializer if tensor.data_type in bytes_}
    assert tuple(vocabulary) in shapes


def test_reported_cosine_is_that_of_the_saved_file_and_of_pytorch(quantized):
    model, folder, report = quantized
    processor = AutoProcessor.from_pretrained(folder)
    int8 = embed_with_onnx(folder / "text_tower.int8.onnx", processor, SENTENCES)
    cosines = F.cosine_similarity(int8, embed_texts(model, processor, SENTENCES))
    assert report.sentences == len(SENTENCES)
    assert report.cosine_mean == pytest.approx(cosines.mean().item(), abs=1e-6)
    assert report.cosine_min == pytest.approx(cosines.min().item(), abs=1e-6)
    assert report.worst_sentence == SENTENCES[cosines.argmin()]
    # measured 0.9999; the perturbed weights are as wide as trained ones
    assert 0.98 < report.cosine_min < report.cosine_mean < 1


def test_report_is_in_the_json_beside_the_file(quantized):
    _, folder, report = quantized
    assert json.loads((folder / "text_tower.int8.json").read_text("utf-8")) == vars(report)
    assert f"{report.cosine_mean:.5f}" in str(report)


def test_blank_sentence_is_refused_before_anything_is_written(tmp_path):
    save_tiny_folder(tmp_path / "model")
    with pytest.raises(ValueError, match="blank"):
        quantize_text_tower(tmp_path / "model", tmp_path / "int8", sentences=["猫", " "])
    assert not (tmp_path / "int8").exists()
