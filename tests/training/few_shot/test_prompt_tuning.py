import pytest
import torch
from helpers.few_shot import CLASSES, LENGTH, save_models, text_of
from torch.nn import functional as F
from wenlan.pipelines.open_brivl import open_brivl
from wenlan.training.few_shot.prompt_encoder import brivl_encoder
from wenlan.training.few_shot.prompt_tuning import PromptClassifier, Prompts, TuningSettings, tune_prompts

SETTINGS = TuningSettings(epochs=12)
LABELS = torch.arange(3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return brivl_encoder(*open_brivl(save_models(tmp_path_factory.mktemp("models"))["brivl"]))


@pytest.fixture
def shots(encoder):
    return encoder.embed([text_of(name, 1) for name in CLASSES])


@pytest.fixture
def visual(encoder):
    return F.normalize(torch.randn(3, 24, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_names_alone_stand_in_the_sentence_that_the_vectors_start_as(encoder):
    found = encoder.encode(*Prompts(encoder, CLASSES, context_length=0)())
    torch.testing.assert_close(found, encoder.embed([f"这是关于{name}的论文" for name in CLASSES]), atol=1e-6, rtol=0)


def test_vectors_stand_around_the_name_and_start_as_means_of_the_words(encoder):
    prompts = Prompts(encoder, CLASSES, context_length=4)
    embeds, mask = prompts()
    assert mask.sum(dim=1).tolist() == [9, 9, 10]  # [CLS], two, the name, two, [SEP]
    words = encoder.embed_tokens(
        torch.tensor(encoder.tokenizer("这是关于的论文", add_special_tokens=False)["input_ids"])
    )
    assert prompts.context is not None
    torch.testing.assert_close(prompts.context[0], words[:2].mean(dim=0))
    torch.testing.assert_close(prompts.context[2], words[4])
    torch.testing.assert_close(prompts.context[3], words[5:].mean(dim=0))
    name = encoder.embed_tokens(torch.tensor(encoder.tokenizer("天文学", add_special_tokens=False)["input_ids"]))
    torch.testing.assert_close(embeds[0, 1:8], torch.cat([prompts.context[:2], name, prompts.context[2:]]))


@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_vectors_is_placed(encoder, count):
    prompts = Prompts(encoder, CLASSES, context_length=count)
    assert (prompts.places >= 0).sum(dim=1).tolist() == [count] * 3
    assert [sorted(row[row >= 0].tolist()) for row in prompts.places] == [list(range(count))] * 3


def test_logits_are_weighted_cosines_over_temperature(encoder, shots, visual):
    classifier = PromptClassifier(encoder, Prompts(encoder, CLASSES, context_length=4), visual)
    with torch.no_grad():
        wanted = (shots @ classifier.text_prototypes().T + 0.5 * shots @ visual.T) / encoder.temperature
        torch.testing.assert_close(classifier(shots), wanted, atol=1e-4, rtol=0)
        for residual in classifier.residuals:
            residual += 0.1
        text, image = (F.normalize(one + 0.1, dim=-1) for one in (classifier.text_prototypes(), visual))
        wanted = (shots @ text.T + 0.5 * shots @ image.T) / encoder.temperature
        torch.testing.assert_close(classifier(shots), wanted, atol=1e-4, rtol=0)
        assert classifier.penalty().item() == pytest.approx(2 * 24 * 0.01, rel=1e-5)


def test_images_of_texts_are_compared_with_visual_prototypes(encoder, shots, visual):
    images = visual.flip(0)
    classifier = PromptClassifier(encoder, Prompts(encoder, CLASSES, context_length=0), visual, with_images=True)
    plain = PromptClassifier(encoder, classifier.prompts, visual)
    with torch.no_grad():
        for residual in classifier.residuals:
            residual += 0.1
        own = classifier(shots, images) - classifier(shots, torch.zeros_like(images))
        torch.testing.assert_close(own, 0.5 * images @ visual.T / encoder.temperature, atol=1e-4, rtol=0)
    start = classifier.scale.detach().clone()
    tune_prompts(classifier, shots, LABELS, SETTINGS, visual)
    assert (classifier.scale > start)[2]  # images that are their class's own deserve more weight
    assert len(plain.scale) == 2
    with pytest.raises(ValueError, match="images of texts need visual prototypes"):
        PromptClassifier(encoder, plain.prompts, None, with_images=True)


def test_training_learns_the_shots_and_leaves_the_tower_as_it_was(encoder, shots, visual):
    classifier = PromptClassifier(encoder, Prompts(encoder, CLASSES, context_length=4), visual)
    before = {name: value.clone() for name, value in classifier.named_parameters() if value.requires_grad}
    losses = tune_prompts(classifier, shots, LABELS, TuningSettings(learning_rate=0.02, residual_penalty=0.1))
    assert len(losses) == 50
    assert losses[-1] < losses[0] - 0.1
    assert classifier(shots).argmax(dim=1).tolist() == [0, 1, 2]
    moved = {name for name, value in classifier.named_parameters() if name in before and not value.equal(before[name])}
    assert moved == {"prompts.context", "scale", "residuals.0", "residuals.1"}
    encoder.check_unchanged()


def test_training_is_the_same_each_time(encoder, shots):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        classifier = PromptClassifier(encoder, Prompts(encoder, CLASSES, context_length=2), None)
        found.append(tune_prompts(classifier, shots, LABELS, SETTINGS))
    assert found[0] == found[1]


def test_names_alone_are_encoded_once(encoder, shots, monkeypatch):
    calls = []
    encode = type(encoder).encode
    monkeypatch.setattr(type(encoder), "encode", lambda *args: calls.append(1) or encode(*args))
    classifier = PromptClassifier(encoder, Prompts(encoder, CLASSES, context_length=0), None)
    tune_prompts(classifier, shots, LABELS, SETTINGS)
    assert len(calls) == 1


def test_visual_prototypes_alone_need_no_names(encoder, shots, visual):
    classifier = PromptClassifier(encoder, None, visual)
    assert tune_prompts(classifier, shots, LABELS, SETTINGS)[-1] < 2
    with pytest.raises(ValueError, match="Give prompts, visual prototypes or both"):
        PromptClassifier(encoder, None, None)


def test_name_of_unknown_tokens_alone_is_an_error(encoder):
    with pytest.raises(ValueError, match="knows nothing of 嗨嗨"):
        Prompts(encoder, ["天文学", "嗨嗨"], context_length=2)


def test_prompt_that_is_too_long_is_an_error(encoder):
    with pytest.raises(ValueError, match=f"A prompt has 18 tokens, the tower reads {LENGTH}"):
        Prompts(encoder, CLASSES, context_length=12)
