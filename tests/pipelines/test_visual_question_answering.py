"""Pictures and questions to answers, through `pipeline("wenlan-vqa", ...)`."""

import io
import json

import numpy as np
import pytest
import torch
from helpers.mlmm.folder import ANSWERS, noise_picture, write_model
from helpers.paths import ROOT
from transformers import pipeline
from wenlan.modeling_mlmm import MLMMForPreTraining
from wenlan.pipelines.visual_question_answering import REMOVED_TASK, TASK

QUESTIONS = {
    "zh": "图中有几只猫？",
    "en": "How many cats are there?",
    "de": "Wie viele Katzen sind da?",
    "fr": "Combien de chats y a-t-il ?",
    "cs": "Kolik koček je na obrázku?",
    "ja": "猫は何匹いますか？",
    "ko": "고양이가 몇 마리 있나요?",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("vqa") / "model")


@pytest.fixture(scope="module")
def answer(folder):
    return pipeline(TASK, model=str(folder), device="cpu")


@pytest.fixture
def picture():
    return noise_picture()


def same(first, second):
    """Two lists of answers, to rounding."""
    assert [one["answer"] for one in first] == [one["answer"] for one in second]
    np.testing.assert_allclose([one["score"] for one in first], [one["score"] for one in second], atol=1e-5)


@pytest.mark.parametrize("language", QUESTIONS)
def test_question_in_every_language_gets_the_models_answers_with_its_scores(answer, picture, language):
    question = QUESTIONS[language]
    with torch.no_grad():
        scores = answer.model(**answer.processor(images=picture, text=question)).logits[0].sigmoid()
    expected = sorted(zip(ANSWERS, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    found = answer(image=picture, question=question, top_k=3)
    same(found, [{"answer": name, "score": score} for name, score in expected[:3]])


def test_more_answers_than_there_are_gives_all(answer, picture):
    assert len(answer(image=picture, question="How many?", top_k=100)) == len(ANSWERS)
    assert len(answer(image=picture, question="How many?")) == 5


def test_path_bytes_and_picture_are_answered_alike(answer, picture, tmp_path):
    picture.save(tmp_path / "picture.png")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    expected = answer(image=picture, question="How many?")
    for image in (str(tmp_path / "picture.png"), tmp_path / "picture.png", buffer.getvalue()):
        assert answer(image=image, question="How many?") == expected


def test_mappings_and_lists_are_answered_like_single_questions(answer, picture):
    other = noise_picture(1)
    pairs = [(picture, "How many?"), (other, "What colour is the key?")]
    expected = [answer(image=image, question=question) for image, question in pairs]
    rows = [{"image": image, "question": question} for image, question in pairs]
    assert expected[0] != expected[1]
    assert answer(rows[0]) == expected[0]
    assert answer(rows) == expected
    assert list(answer(row for row in rows)) == expected
    assert answer(image=[picture, other], question=[question for _, question in pairs]) == expected


def test_batches_give_the_answers_of_single_questions(answer):
    pictures = [noise_picture(seed, 48 + 6 * (seed % 4)) for seed in range(len(QUESTIONS))]
    rows = [
        {"image": image, "question": question} for image, question in zip(pictures, QUESTIONS.values(), strict=True)
    ]
    for batched, row in zip(answer(rows, batch_size=3), rows, strict=True):
        same(batched, answer(row))


def test_regions_of_one_picture_are_found_once_for_all_its_questions(answer, picture, monkeypatch):
    extractor, calls = answer.processor.region_extractor, []
    extract = extractor.extract
    monkeypatch.setattr(extractor, "extract", lambda *args, **kwargs: calls.append(1) or extract(*args, **kwargs))
    answers = answer(image=picture, question=list(QUESTIONS.values()))
    assert len(calls) == 1
    assert answers == [answer(image=picture, question=question) for question in QUESTIONS.values()]


def test_one_question_goes_with_every_picture(answer, picture):
    pictures = [picture, noise_picture(1)]
    answers = answer(image=pictures, question="How many?")
    assert answers == [answer(image=one, question="How many?") for one in pictures]


def test_regions_stand_in_for_pictures(answer, picture):
    pictures = [picture, noise_picture(1, 96)]
    settings = {"min_boxes": 3, "max_boxes": 6, "conf_threshold": 0.2}
    expected = [answer(image=one, question="How many?") for one in pictures]
    together = answer.processor.region_extractor.extract(pictures, **settings)
    for found, wanted in zip(answer(regions=together, question="How many?"), expected, strict=True):
        same(found, wanted)
    row = answer.processor.region_extractor.extract([picture], **settings)
    row = {"boxes": row.boxes[0], "features": row.features[0], "image_height": 48, "image_width": 64}
    same(answer(regions=row, question="How many?"), expected[0])
    same(answer(regions=[row], question="How many?")[0], expected[0])
    same(answer({"regions": row, "question": "How many?"}), expected[0])


def test_half_precision_model_gets_half_precision_regions(folder, picture):
    half = pipeline(TASK, model=str(folder), device="cpu", dtype=torch.bfloat16)
    assert len(half(image=picture, question="How many?")) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "There is no question"),
        ({"image": noise_picture()}, "There is no question"),
        ({"question": "How many?"}, "There is no picture"),
        ({"image": {"question": "How many?"}}, "There is no picture in {'question': 'How many\\?'}"),
        ({"image": [{"image": noise_picture()}]}, "There is no question in"),
        ({"image": noise_picture(), "question": " \u3000"}, "is blank"),
        ({"image": b"no picture", "question": "How many?"}, "not an image|picture of 10 bytes"),
        ({"image": noise_picture(), "question": "How many?", "top_k": 0}, "top_k is 0"),
        ({"image": noise_picture(), "regions": [], "question": "How many?"}, "both given"),
        ({"image": [noise_picture()] * 2, "question": ["How many?"] * 3}, "2 pictures for 3 questions"),
    ],
)
def test_mistake_says_what_is_wrong(answer, arguments, message):
    with pytest.raises(ValueError, match=message):
        answer(**arguments)


def test_no_questions_get_no_answers(answer):
    assert answer([]) == answer(image=[], question=[]) == []


def test_question_over_the_limit_is_cut_not_refused(answer, picture):
    assert len(answer(image=picture, question="How many cats are there? " * 60)) == 5


def test_model_that_names_no_answers_is_refused(tmp_path, folder):
    pretraining = write_model(tmp_path / "pretraining", MLMMForPreTraining)
    with pytest.raises(ValueError, match="names no answers"):
        pipeline(TASK, model=str(pretraining), device="cpu")


def test_saved_pipeline_opens_again_without_foreign_code(answer, picture, tmp_path):
    answer.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    again = pipeline(TASK, model=str(tmp_path), device="cpu")
    assert again(image=picture, question="How many?") == answer(image=picture, question="How many?")


def test_name_that_transformers_removed_works_for_folders_with_the_code(answer, picture, tmp_path):
    answer.save_pretrained(tmp_path, with_code=True)
    assert [path.name for path in tmp_path.glob("*.py")] == ["visual_question_answering.py"]
    assert "custom_pipelines" in json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert not hasattr(answer.model.config, "custom_pipelines")
    with pytest.raises(ValueError, match="trust_remote_code"):
        pipeline(REMOVED_TASK, model=str(tmp_path), device="cpu")
    remote = pipeline(REMOVED_TASK, model=str(tmp_path), device="cpu", trust_remote_code=True)
    assert type(remote).__module__.startswith("transformers_modules")
    expected = answer(image=picture, question="How many?")
    assert remote(image=picture, question="How many?") == expected
    assert pipeline(TASK, model=str(tmp_path), device="cpu")(image=picture, question="How many?") == expected


def test_file_of_the_pipeline_imports_nothing_of_ours():
    text = (ROOT / "pipelines" / "visual_question_answering.py").read_text("utf-8")
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imports if "wenlan" in line or line.startswith("from .")]
