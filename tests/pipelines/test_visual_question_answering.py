"""Images and questions to answers, through `pipeline("wenlan-vqa", ...)`."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from helpers.mlmm.folder import ANSWERS, noise_image, write_model
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
def photo():
    return noise_image()


def same(first, second):
    """Two lists of answers, to rounding."""
    assert [one["answer"] for one in first] == [one["answer"] for one in second]
    np.testing.assert_allclose([one["score"] for one in first], [one["score"] for one in second], atol=1e-5)


@pytest.mark.parametrize("language", QUESTIONS)
def test_question_in_every_language_gets_the_models_answers_with_its_scores(answer, photo, language):
    question = QUESTIONS[language]
    with torch.no_grad():
        scores = answer.model(**answer.processor(images=photo, text=question)).logits[0].sigmoid()
    expected = sorted(zip(ANSWERS, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    found = answer(image=photo, question=question, top_k=3)
    same(found, [{"answer": name, "score": score} for name, score in expected[:3]])


def test_more_answers_than_there_are_gives_all(answer, photo):
    assert len(answer(image=photo, question="How many?", top_k=100)) == len(ANSWERS)
    assert len(answer(image=photo, question="How many?")) == 5


def test_path_bytes_and_image_are_answered_alike(answer, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    expected = answer(image=photo, question="How many?")
    array, text = np.array(photo), base64.b64encode(buffer.getvalue()).decode()
    path = tmp_path / "photo.png"
    for image in (str(path), path, buffer.getvalue(), f"data:image/png;base64,{text}", text, array, array / 255):
        assert answer(image=image, question="How many?") == expected


def test_mappings_and_lists_are_answered_like_single_questions(answer, photo):
    other = noise_image(1)
    pairs = [(photo, "How many?"), (other, "What colour is the key?")]
    expected = [answer(image=image, question=question) for image, question in pairs]
    rows = [{"image": image, "question": question} for image, question in pairs]
    assert expected[0] != expected[1]
    assert answer(rows[0]) == expected[0]
    assert answer(rows) == expected
    assert list(answer(row for row in rows)) == expected
    assert answer(image=[photo, other], question=[question for _, question in pairs]) == expected


def test_batches_give_the_answers_of_single_questions(answer):
    images = [noise_image(seed, 48 + 6 * (seed % 4)) for seed in range(len(QUESTIONS))]
    rows = [{"image": image, "question": question} for image, question in zip(images, QUESTIONS.values(), strict=True)]
    for batched, row in zip(answer(rows, batch_size=3), rows, strict=True):
        same(batched, answer(row))


def test_regions_of_one_image_are_found_once_for_all_its_questions(answer, photo, monkeypatch):
    extractor, calls = answer.processor.region_extractor, []
    extract = extractor.extract
    monkeypatch.setattr(extractor, "extract", lambda *args, **kwargs: calls.append(1) or extract(*args, **kwargs))
    answers = answer(image=photo, question=list(QUESTIONS.values()))
    assert len(calls) == 1
    assert answers == [answer(image=photo, question=question) for question in QUESTIONS.values()]


def test_one_question_goes_with_every_image(answer, photo):
    images = [photo, noise_image(1)]
    answers = answer(image=images, question="How many?")
    assert answers == [answer(image=one, question="How many?") for one in images]


def test_regions_stand_in_for_images(answer, photo):
    images = [photo, noise_image(1, 96)]
    settings = {"min_boxes": 3, "max_boxes": 6, "conf_threshold": 0.2}
    expected = [answer(image=one, question="How many?") for one in images]
    together = answer.processor.region_extractor.extract(images, **settings)
    for found, wanted in zip(answer(regions=together, question="How many?"), expected, strict=True):
        same(found, wanted)
    row = answer.processor.region_extractor.extract([photo], **settings)
    row = {"boxes": row.boxes[0], "features": row.features[0], "image_height": 48, "image_width": 64}
    same(answer(regions=row, question="How many?"), expected[0])
    same(answer(regions=[row], question="How many?")[0], expected[0])
    same(answer({"regions": row, "question": "How many?"}), expected[0])


def test_half_precision_model_gets_half_precision_regions(folder, photo):
    half = pipeline(TASK, model=str(folder), device="cpu", dtype=torch.bfloat16)
    assert len(half(image=photo, question="How many?")) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "There is no question"),
        ({"image": noise_image()}, "There is no question"),
        ({"question": "How many?"}, "There is no image"),
        ({"image": {"question": "How many?"}}, "There is no image in {'question': 'How many\\?'}"),
        ({"image": [{"image": noise_image()}]}, "There is no question in"),
        ({"image": noise_image(), "question": " \u3000"}, "is blank"),
        ({"image": b"no image", "question": "How many?"}, "not an image|photo of 10 bytes"),
        ({"image": noise_image(), "question": "How many?", "top_k": 0}, "top_k is 0"),
        ({"image": noise_image(), "regions": [], "question": "How many?"}, "both given"),
        ({"image": [noise_image()] * 2, "question": ["How many?"] * 3}, "2 images for 3 questions"),
    ],
)
def test_mistake_says_what_is_wrong(answer, arguments, message):
    with pytest.raises(ValueError, match=message):
        answer(**arguments)


def test_no_questions_get_no_answers(answer):
    assert answer([]) == answer(image=[], question=[]) == []


def test_question_over_the_limit_is_cut_not_refused(answer, photo):
    assert len(answer(image=photo, question="How many cats are there? " * 60)) == 5


def test_model_that_names_no_answers_is_refused(tmp_path, folder):
    pretraining = write_model(tmp_path / "pretraining", MLMMForPreTraining)
    with pytest.raises(ValueError, match="names no answers"):
        pipeline(TASK, model=str(pretraining), device="cpu")


def test_saved_pipeline_opens_again_without_foreign_code(answer, photo, tmp_path):
    answer.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    again = pipeline(TASK, model=str(tmp_path), device="cpu")
    assert again(image=photo, question="How many?") == answer(image=photo, question="How many?")


def test_name_that_transformers_removed_works_for_folders_with_the_code(answer, photo, tmp_path):
    answer.save_pretrained(tmp_path, with_code=True)
    assert [path.name for path in tmp_path.glob("*.py")] == ["visual_question_answering.py"]
    assert "custom_pipelines" in json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert not hasattr(answer.model.config, "custom_pipelines")
    with pytest.raises(ValueError, match="trust_remote_code"):
        pipeline(REMOVED_TASK, model=str(tmp_path), device="cpu")
    remote = pipeline(REMOVED_TASK, model=str(tmp_path), device="cpu", trust_remote_code=True)
    assert type(remote).__module__.startswith("transformers_modules")
    expected = answer(image=photo, question="How many?")
    assert remote(image=photo, question="How many?") == expected
    assert pipeline(TASK, model=str(tmp_path), device="cpu")(image=photo, question="How many?") == expected


def test_file_of_the_pipeline_imports_nothing_of_ours():
    text = (ROOT / "pipelines" / "visual_question_answering.py").read_text("utf-8")
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imports if "wenlan" in line or line.startswith("from .")]
