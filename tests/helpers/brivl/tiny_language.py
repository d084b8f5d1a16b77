"""Fixtures: a tiny BriVL that was never trained, its embeddings of emoji7, and its evaluation of language."""

import pytest
from helpers.brivl.tiny_folder import save_tiny_folder
from transformers import AutoProcessor
from wenlan.evaluation import Emoji7Embeddings, evaluate_language
from wenlan.modeling_brivl import BriVLModel
from wenlan.processing import BriVLProcessor


@pytest.fixture(scope="session")
def tiny_brivl(tmp_path_factory: pytest.TempPathFactory) -> tuple[BriVLModel, BriVLProcessor]:
    folder = tmp_path_factory.mktemp("tiny")
    return save_tiny_folder(folder).eval(), AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_embeddings(tiny_brivl: tuple[BriVLModel, BriVLProcessor]) -> Emoji7Embeddings:
    return Emoji7Embeddings(*tiny_brivl)


@pytest.fixture(scope="session")
def tiny_language(tiny_brivl: tuple[BriVLModel, BriVLProcessor], tiny_embeddings: Emoji7Embeddings) -> dict:
    """The results of Chinese and Czech. Not to be changed."""
    return evaluate_language(*tiny_brivl, languages=("zh", "cs"), embeddings=tiny_embeddings)
