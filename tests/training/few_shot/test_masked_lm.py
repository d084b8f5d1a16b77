import numpy as np
import pytest
import torch
from helpers.few_shot import CLASSES, save_models, text_of
from wenlan.data.csldcp.label_words import label_words
from wenlan.training.few_shot.masked_lm import MaskedLMClassifier, MaskedLMSettings, open_masked_lm, word_ids

LABELS = np.arange(3)
SHOTS = [text_of(name, 1) for name in CLASSES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def classifier(folders):
    def build(**settings):
        model, tokenizer = open_masked_lm(folders["masked_lm"])
        settings = MaskedLMSettings(max_length=48, **settings)
        return MaskedLMClassifier(model, tokenizer, word_ids(tokenizer, label_words(CLASSES)), settings)

    return build


def test_score_is_the_sum_of_log_probabilities_at_the_two_masks(classifier):
    pet = classifier()
    tokenizer, model = pet.tokenizer, pet.model
    inputs = tokenizer("这篇[MASK][MASK]论文阐述了水稻", return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs).logits[0].log_softmax(dim=-1)
        scores = pet(["水稻"])[0]
    for number, word in enumerate(["天文", "作物", "农业"]):
        first, second = tokenizer.convert_tokens_to_ids(list(word))
        assert scores[number].item() == pytest.approx((found[3, first] + found[4, second]).item(), abs=1e-5)


def test_scores_do_not_depend_on_the_batch_and_long_texts_are_cut(classifier):
    pet = classifier()
    texts = [*SHOTS, "水稻" * 60, "有[MASK]的"]
    assert pet.encode(texts)["input_ids"].shape[1] == 48
    with torch.no_grad():
        whole = pet(texts)
        alone = torch.cat([pet([text]) for text in texts])
    torch.testing.assert_close(whole, alone, atol=1e-4, rtol=0)


def test_pet_learns_the_shots_with_its_weights(classifier):
    pet = classifier(learning_rate=5e-3, batch_size=2)
    before = pet.model.state_dict()["cls.predictions.bias"].clone()
    losses = pet.fit(SHOTS, LABELS)
    assert len(losses) == 40
    assert losses[-1] < losses[0]
    assert pet.predict(SHOTS).tolist() == [0, 1, 2]
    assert not pet.model.state_dict()["cls.predictions.bias"].equal(before)


def test_p_tuning_puts_vectors_before_and_after_the_masks(classifier):
    tuning = classifier(method="ptuning", prompt_vectors=5)
    encoded = tuning.encode(["水稻"])
    assert encoded["masks"].tolist() == [[4, 5]]  # [CLS] and three vectors before, two after
    assert encoded["prompt"].tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    first = tuning(["水稻"])
    with torch.no_grad():
        tuning.vectors[4] += 1
    assert not tuning(["水稻"]).equal(first)


def test_p_tuning_of_a_frozen_model_moves_the_vectors_alone(classifier):
    tuning = classifier(method="ptuning", learning_rate=0.0, prompt_learning_rate=0.1, epochs=40)
    weights = {name: value.clone() for name, value in tuning.model.state_dict().items()}
    vectors = tuning.vectors.detach().clone()
    losses = tuning.fit(SHOTS, LABELS)
    assert losses[-1] < losses[0]
    assert not tuning.vectors.equal(vectors)
    assert all(value.equal(weights[name]) for name, value in tuning.model.state_dict().items())


def test_training_is_the_same_for_the_same_seed(classifier):
    found = [classifier(seed=seed, batch_size=1, epochs=2, learning_rate=1e-3).fit(SHOTS, LABELS) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("word", ["天", "天文学", "嗨文"])
def test_word_that_is_not_two_known_tokens_is_an_error(classifier, word):
    with pytest.raises(ValueError, match=f"The label word '{word}' is not 2 tokens of the model"):
        word_ids(classifier().tokenizer, [word])


def test_encoder_without_a_head_is_refused(folders):
    with pytest.raises(ValueError, match=r"lacks \d+ weights"):
        open_masked_lm(folders["encoder"])
