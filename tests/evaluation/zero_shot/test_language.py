"""Evaluation of language: what perfect, broken, untrained and permuted embeddings score."""

import json
from itertools import pairwise, product

import numpy as np
import pytest
from wenlan.data import GROUP_NAMES, LANGUAGES, load_phrases
from wenlan.evaluation import Emoji7Embeddings, evaluate_emoji7, evaluate_language
from wenlan.evaluation.zero_shot.language import (
    keyword_queries,
    keyword_recalls,
    language_agreement,
    phrase_accuracy,
)


def oracle(tiny_brivl, language):
    """Returns hand-made embeddings: an image is its concept, a text the mean of the concepts that it is true of."""
    embeddings = Emoji7Embeddings(*tiny_brivl)
    eye = np.eye(1356, dtype=np.float32)
    for split in ("test", "test_held", "test_held_noto"):
        rows = embeddings.splits[split].remove_columns("image")
        ids = np.array(rows["concept_id"])
        embeddings._images[split] = eye[ids]
        if split == "test":
            texts, true_of = keyword_queries(rows[f"name_{language}"], rows[f"keywords_{language}"], language)
            embeddings._texts |= {text: unit(eye[ids[true]]) for text, true in zip(texts, true_of, strict=True)}
            for group, prompt in GROUP_NAMES[language].items():
                embeddings._texts[prompt] = unit(eye[ids[np.array(rows["group"]) == group]])
        embeddings._texts |= {name: eye[c] for name, c in zip(rows[f"name_{language}"], ids, strict=True)}
    embeddings._texts |= {phrase.texts[language]: unit(eye[list(phrase.right)]) for phrase in load_phrases()}
    return embeddings


def unit(rows):
    return rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))


@pytest.mark.parametrize("language", ["zh", "ko"])
def test_perfect_embeddings_score_100(tiny_brivl, language):
    results = evaluate_language(*tiny_brivl, languages=[language], embeddings=oracle(tiny_brivl, language))
    metrics = results["languages"][language]
    assert metrics["names"]["mean_recall"] == 100
    assert metrics["test_held"]["mean_recall"] == metrics["test_held_noto"]["mean_recall"] == 100
    assert metrics["phrases"]["hit@1"] == metrics["phrases"]["hit@10"] == 100
    # a text can be a keyword and a name or a prompt, of which the last two are what it means here
    assert metrics["keywords"]["t2i_R@1"] > 99
    assert metrics["keywords"]["i2t_R@1"] > 97
    assert metrics["groups"]["top-1"] > 99
    right = [row["right"] for row in results["phrases"]]
    assert metrics["phrases"]["P@10"] == pytest.approx(np.mean([100 * min(n, 10) / 10 for n in right]))
    assert {row["rank"] for row in results["phrases"]} == {1}


def test_permuted_perfect_embeddings_fall_to_chance(tiny_brivl):
    results = evaluate_language(
        *tiny_brivl, languages=["zh"], permute_names_seed=1, embeddings=oracle(tiny_brivl, "zh")
    )
    metrics = results["languages"]["zh"]
    for kind, way in product(("names", "keywords"), ("t2i", "i2t")):
        assert metrics[kind][f"{way}_R@10"] < 3 * metrics[kind][f"{way}_chance_R@10"]
    assert metrics["phrases"]["P@10"] < 3 * metrics["phrases"]["chance_P@10"]
    assert metrics["phrases"]["hit@10"] < 2.5 * metrics["phrases"]["chance_hit@10"]
    assert metrics["groups"]["top-1"] < 1.6 * metrics["groups"]["chance_top-1"]
    assert metrics["test_held"]["t2i_R@10"] < 3 * metrics["test_held"]["t2i_chance_R@10"]


@pytest.mark.parametrize("language", ["zh", "cs"])
def test_an_untrained_model_is_at_chance(tiny_language, language):
    metrics = tiny_language["languages"][language]
    for kind, way in product(("names", "keywords"), ("t2i", "i2t")):
        assert metrics[kind][f"{way}_R@10"] < 3 * metrics[kind][f"{way}_chance_R@10"]
    assert metrics["phrases"]["hit@1"] < 5 * metrics["phrases"]["chance_hit@1"]
    assert metrics["phrases"]["P@10"] < 3 * metrics["phrases"]["chance_P@10"]
    assert metrics["groups"]["top-1"] < 30


def test_unknown_tokens_are_told(tiny_language):
    assert tiny_language["languages"]["cs"]["unknown_tokens"] > 99  # its vocabulary has the characters of six sentences
    assert 50 < tiny_language["languages"]["zh"]["unknown_tokens"] < 99


def test_results_are_plain_json_and_list_every_phrase(tiny_language):
    assert json.loads(json.dumps(tiny_language, allow_nan=False)) == tiny_language
    assert list(tiny_language["languages"]) == ["zh", "cs"]
    assert list(tiny_language["agreement"]) == ["zh-cs"]
    phrases = load_phrases()
    listed = {
        language: [r["text"] for r in tiny_language["phrases"] if r["language"] == language] for language in LANGUAGES
    }
    assert listed["cs"] == [phrase.texts["cs"] for phrase in phrases]
    assert listed["en"] == []
    assert all(len(row["found"]) == 3 and 1 <= row["rank"] <= 1198 for row in tiny_language["phrases"])
    assert (tiny_language["style"], tiny_language["candidates"]) == ("fluent3d", 1198)


def test_a_second_evaluation_embeds_nothing_again(tiny_brivl, tiny_embeddings, tiny_language, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("embedded twice")

    for name in ("embed_images", "embed_texts"):
        monkeypatch.setattr(f"wenlan.evaluation.zero_shot.embeddings.{name}", refuse)
    assert evaluate_language(*tiny_brivl, languages=("zh", "cs"), embeddings=tiny_embeddings) == tiny_language


def test_texts_are_embedded_as_alone_whatever_their_order(tiny_brivl):
    texts = ["一只猫和一个苹果", "猫", "红色的湖", "猫", "雪"]
    together = Emoji7Embeddings(*tiny_brivl).texts(texts)
    alone = np.concatenate([Emoji7Embeddings(*tiny_brivl).texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("languages", [[], "zh", ["zh", "zh"]])
def test_languages_are_a_list_of_different_ones(tiny_brivl, languages):
    with pytest.raises(ValueError, match="list of different ones"):
        evaluate_language(*tiny_brivl, languages=languages)


@pytest.mark.parametrize("evaluate", [evaluate_emoji7, evaluate_language])
def test_an_unknown_language_is_refused_before_anything_is_embedded(tiny_brivl, evaluate):
    wanted = {"language": "xx"} if evaluate is evaluate_emoji7 else {"languages": ["en", "xx"]}
    with pytest.raises(ValueError, match=r"'xx'.*zh, en, de, fr, cs, ja, ko"):
        evaluate(*tiny_brivl, **wanted)


def test_embeddings_that_are_not_finite_are_refused(tiny_brivl):
    embeddings = oracle(tiny_brivl, "zh")
    embeddings._texts["下雨天"] = np.full(1356, np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN"):
        evaluate_language(*tiny_brivl, languages=["zh"], embeddings=embeddings)


def test_a_model_that_maps_all_texts_to_one_point_scores_nothing(tiny_brivl):
    embeddings = oracle(tiny_brivl, "zh")
    embeddings._texts = dict.fromkeys(embeddings._texts, np.full(1356, 1356**-0.5, np.float32))
    metrics = evaluate_language(*tiny_brivl, languages=["zh"], embeddings=embeddings)["languages"]["zh"]
    assert metrics["names"]["mean_recall"] == metrics["keywords"]["t2i_R@10"] == metrics["groups"]["top-1"] == 0
    assert metrics["phrases"]["hit@10"] == metrics["phrases"]["P@10"] == 0


def test_keyword_texts_are_distinct_and_true_of_all_that_bear_each_part():
    texts, true_of = keyword_queries(
        ["cat", "dog", "pet", "rock"], [["pet", "fur"], ["pet", "fur"], [], ["a", "b", "c", "d"]], "en"
    )
    assert texts == ["pet fur", "a b c"]
    assert true_of.tolist() == [[True, True, False, False], [False, False, False, True]]
    assert keyword_queries(["猫"], [["宠物", "毛"]], "zh")[0] == ["宠物，毛"]


def test_an_image_without_keywords_is_a_candidate_but_no_query():
    true_of = np.array([[True, True, False], [False, True, False]])
    scores = np.array([[0.9, 0.8, 0.95], [0.1, 0.7, 0.2]])
    results = keyword_recalls(scores, true_of)
    assert results["t2i_R@1"] == 50  # the third image is nearer to the first text than those it is true of
    assert results["i2t_R@1"] == 100
    assert results["texts"] == 2


def test_phrase_accuracy_beside_exact_chance():
    relevant = np.zeros((2, 20), dtype=bool)
    relevant[0, :4] = relevant[1, 7] = True
    scores = np.tile(-np.arange(20.0), (2, 1))
    results = phrase_accuracy(scores, relevant)
    assert results["hit@1"] == 50
    assert results["hit@10"] == 100
    assert results["P@10"] == pytest.approx(25)  # 4 and 1 of 10
    assert results["chance_hit@1"] == pytest.approx(100 * (4 / 20 + 1 / 20) / 2)
    miss = np.prod([(16 - i) / (20 - i) for i in range(10)])
    assert results["chance_hit@10"] == pytest.approx(100 * ((1 - miss) + 0.5) / 2)
    assert results["chance_P@10"] == pytest.approx(100 * 5 / 40)


def test_agreement_of_equal_and_of_rotated_languages():
    eye, first = np.eye(5), {"names": np.arange(5), "phrases": np.array([0, 0, 1])}
    same = language_agreement((eye, eye), (first, first), 5)
    assert same["names"] == same["phrases"] == 100
    assert same["chance_names"] == pytest.approx(20)
    assert same["chance_phrases"] == pytest.approx(100 * (4 + 1) / 9)
    assert (same["cosine"], same["other_cosine"]) == (1, 0)
    other = {"names": np.roll(np.arange(5), 1), "phrases": np.array([2, 2, 2])}
    rotated = language_agreement((eye, np.roll(eye, 1, axis=0)), (first, other), 5)
    assert (rotated["names"], rotated["phrases"], rotated["cosine"]) == (0, 0, 0)
    assert rotated["other_cosine"] == pytest.approx(1 / 4)
    assert rotated["chance_phrases"] == 0


def test_every_language_has_prompts_for_the_eight_groups():
    assert list(GROUP_NAMES) == list(LANGUAGES)
    for one, other in pairwise(GROUP_NAMES.values()):
        assert list(one) == list(other)
        assert len(set(one.values())) == 8
        assert all(len(prompt.split()) <= 3 for prompt in one.values())
