import shutil
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.mlmm.corpus_files import INFO, draw_classes, write_corpus, write_regions
from wenlan.data import (
    CLASS_NAMES,
    COLOUR_NAMES,
    MLMMBatches,
    MLMMExamples,
    TooManyBadRowsError,
    load_emoji_scenes,
)
from wenlan.data.mlmm.batch_sampler import CurriculumStage
from wenlan.evaluation import evaluate_mlmm_pretraining, mlmm_pretraining
from wenlan.modeling_mlmm import MLMMConfig, MLMMForPreTraining
from wenlan.processing import MLMMPretrainingCollator, MLMMProcessor, load_small_tokenizer
from wenlan.training.mlmm.data import CorpusArguments, load_corpus

NAMES = {language: CLASS_NAMES[language] for language in ("en", "zh")}


@pytest.fixture(scope="module")
def processor():
    return MLMMProcessor(load_small_tokenizer(), region_feature_dim=INFO.feature_dim)


@pytest.fixture(scope="module")
def corpora(processor, tmp_path_factory):
    """Two corpora of other images: 60 to train on, 30 to evaluate on."""
    folder = tmp_path_factory.mktemp("corpora")
    files = [write_corpus(folder / "train", 60), write_corpus(folder / "test", 30, first=100)]
    corpora = [{"regions": regions, "captions": captions} for regions, captions in files]
    return [load_corpus(corpus, CorpusArguments(), processor.tokenizer)[0] for corpus in corpora]


def build_model(processor, **changes):
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config = {"vocab_size": len(processor.tokenizer), "region_feature_dim": INFO.feature_dim}
    config |= {"num_region_classes": INFO.num_classes, "region_background_index": INFO.background_index}
    return MLMMForPreTraining(MLMMConfig(**sizes, **config, **changes))


def test_metrics_come_by_language_with_counts_and_are_the_same_again(processor, corpora):
    model = build_model(processor).train()
    torch.manual_seed(1)
    metrics = evaluate_mlmm_pretraining(model, processor, corpora[1], object_names=NAMES)
    assert model.training
    assert set(metrics["itm"]) == {"all", "en", "zh"}
    assert metrics["itm"]["all"]["count"] == metrics["object_words"]["all"]["count"] == 120
    assert metrics == evaluate_mlmm_pretraining(model, processor, corpora[1], object_names=NAMES)


def test_model_that_always_says_match_is_at_chance_in_every_language(processor, corpora):
    model = build_model(processor)
    with torch.no_grad():
        model.itm_head.bias += torch.tensor([-99.0, 99.0])
    metrics = evaluate_mlmm_pretraining(model, processor, corpora[1], max_examples=60)
    assert {row["accuracy"] for row in metrics["itm"].values()} == {0.5}


def test_without_names_no_words_are_hidden(processor, corpora):
    assert set(evaluate_mlmm_pretraining(build_model(processor), processor, corpora[1])) == {"itm", "mrc"}


def test_captions_without_a_name_are_no_metric_of_names(processor, corpora):
    with pytest.raises(ValueError, match=r"none of the captions drawn .* by object_words: .*test_objects"):
        evaluate_mlmm_pretraining(build_model(processor), processor, corpora[1], object_names={"en": ["teapot"]})


@pytest.mark.parametrize(("broken", "allowed"), [(6, 0.1), (30, 1.0)])
def test_images_without_usable_regions_are_counted_and_compared(processor, tmp_path, broken, allowed):
    regions, captions = write_corpus(tmp_path, 30, first=200)
    shutil.rmtree(regions)
    names = [f"{number}.png" for number in range(200, 230)]
    images = {name: draw_classes(number) for number, name in enumerate(names)}
    write_regions(Path(regions), images, broken=names[:broken])
    corpus, _ = load_corpus({"regions": regions, "captions": captions}, CorpusArguments(), processor.tokenizer)
    evaluate = partial(evaluate_mlmm_pretraining, build_model(processor), processor, corpus)
    with pytest.raises(TooManyBadRowsError, match="x not finite"):
        evaluate(max_bad_fraction=allowed)
    if broken < 30:
        assert evaluate(max_bad_fraction=0.5)["itm"]["all"]["count"] > 0


@pytest.mark.parametrize("language", ["zh", "en", "de", "fr", "cs", "ja", "ko"])
def test_names_found_in_captions_of_scenes_are_those_of_their_objects(language):
    names = set(CLASS_NAMES[language]) - set(COLOUR_NAMES[language])
    pattern = mlmm_pretraining._pattern(sorted(names), language)
    for scene in load_emoji_scenes("test", 8):
        expected = {CLASS_NAMES[language][one["category_id"]] for one in scene["objects"]} & names
        assert set(pattern.findall(scene["captions"][language][0])) == expected


def test_a_name_is_hidden_wherever_it_stands_with_all_its_pieces(processor, corpora):
    text = "Left: trombone. Right: key and trombone."
    pattern = mlmm_pretraining._pattern(["trombone"], "en")
    spans = mlmm_pretraining._draw_name({"text": text, "seed": 0}, pattern)
    assert [text[start:end] for start, end in spans] == ["trombone", "trombone"]
    evaluate = mlmm_pretraining._Evaluation(build_model(processor), processor, corpora[1], None, 0)
    hidden = evaluate._hide([{"text": text}], [spans])
    tokenizer = processor.tokenizer
    assert "trombone" not in tokenizer.decode(hidden["input_ids"][0])
    assert "key" in tokenizer.decode(hidden["input_ids"][0])
    labels = hidden["mlm_labels"][0]
    assert tokenizer.decode(labels[labels != -100]).split() == ["trombone", "trombone"]


def test_a_longer_name_wins_over_one_inside_it():
    pattern = mlmm_pretraining._pattern(["car", "racing car"], "en")
    assert pattern.findall("racing car and car, scar") == ["racing car", "car"]


def train(model, processor, corpus, *, steps):
    collator, examples = MLMMPretrainingCollator(processor, masked_fraction=0.4), MLMMExamples([corpus])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    curriculum = [CurriculumStage(steps // 4, tasks=["mlm"])]
    for draws in MLMMBatches([corpus], num_steps=steps, token_budget=512, curriculum=curriculum):
        model(**collator(examples.__getitems__(draws))).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.slow
def test_model_learns_to_look_and_nothing_of_it_from_shuffled_pairs(processor, corpora, tmp_path):
    regions, captions = write_corpus(tmp_path, 60)
    shuffled = load_corpus(
        {"regions": regions, "captions": captions}, CorpusArguments(shuffle_pairs=True), processor.tokenizer
    )[0]
    metrics = defaultdict(dict)
    for name, corpus in {"true": corpora[0], "shuffled": shuffled}.items():
        torch.manual_seed(0)
        changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "mrc_reduction": "batchmean"}
        model = build_model(processor, normalize_region_features=True, initializer_range=0.05, **changes).train()
        train(model, processor, corpus, steps=1000)
        metrics[name] = evaluate_mlmm_pretraining(model, processor, corpora[1], object_names=NAMES)
    print(dict(metrics))
    true, shuffled = metrics["true"], metrics["shuffled"]
    assert true["itm"]["all"]["accuracy"] > 0.8
    assert true["object_words"]["all"]["accuracy"] > true["object_words"]["all"]["without_regions"] + 0.15
    assert true["mrc"]["all"]["accuracy"] > true["mrc"]["all"]["with_other_words"] + 0.2
    assert shuffled["itm"]["all"]["accuracy"] == pytest.approx(0.5, abs=0.12)
