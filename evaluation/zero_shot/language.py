"""Evaluation of language on emoji7: names, keywords, phrases and groups in each language, and how far they agree.

Images are the unseen style `fluent3d`. A *phrase* is what a person types to find an image (`data/emoji7/phrases.py`).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from transformers import PreTrainedModel

from ...data.emoji7.dataset import GROUP_NAMES, MAX_KEYWORDS, check_language, join_parts
from ...data.emoji7.phrases import Phrase, load_phrases
from ...data.rows.languages import LANGUAGES
from ...processing.processing_brivl import BriVLProcessor
from ..retrieval.recall import best_ranks, precision_at_k, recall_at_k, retrieval_recalls
from .accuracy import top_k_accuracy
from .embeddings import Emoji7Embeddings

HELD_SPLITS = ("test_held", "test_held_noto")
FOUND = 3  # images listed for each phrase

Metrics = dict[str, float | int | str]


def evaluate_language(
    model: PreTrainedModel,
    processor: BriVLProcessor,
    *,
    languages: Sequence[str] = LANGUAGES,
    permute_names_seed: int | None = None,
    progress: bool = False,
    embeddings: Emoji7Embeddings | None = None,
) -> dict[str, object]:
    """Evaluate what a model understands in each language; all metrics are percentages beside their chance level.

    Args:
        model, processor: a `BriVLModel` and its processor.
        languages: some of `LANGUAGES`.
        permute_names_seed: shuffles which image belongs to which concept: a control in which all but `agreement` and
            `unknown_tokens` must fall to chance.
        progress: show progress bars.
        embeddings: of this model, where another evaluation has them already.

    Returns:
        `style` and `candidates`: of the images that names, keywords and phrases are to find.
        `languages`: by language
            `unknown_tokens`: how much of all texts the tokenizer does not know;
            `names`, `test_held`, `test_held_noto`: `retrieval_recalls` of the names of seen and held concepts;
            `keywords`: the same of the first `MAX_KEYWORDS` keywords of a concept. All concepts of which all of them
                are names or keywords are right. `texts` are the distinct ones, `left_out` the concepts without any;
            `phrases`: `hit@1`, `hit@10` and `P@10`;
            `groups`: `top-1` of the images among the 8 groups, by one prompt a group.
        `agreement`: by pair of languages, as in `zh-en`. `names` and `phrases`: how often the two texts find the same
            image first; chance: how often they would if they were paired at random. `cosine`: of the names of one
            concept; `other_cosine`: of different ones (neither is a percentage).
        `phrases`: a row for each language and phrase: the `text`, how many concepts are `right`, the `rank` of the
            first of them, `P@10` and the names of the first three images `found`.

    Raises:
        ValueError: no language, one that is not in `LANGUAGES` or occurs twice, or embeddings that are not finite.
    """
    _check_languages(languages)
    embeddings = embeddings or Emoji7Embeddings(model, processor, progress=progress)
    splits = {split: embeddings.splits[split].remove_columns("image") for split in ("test", *HELD_SPLITS)}
    images = {}
    for split, rows in splits.items():
        order = np.arange(len(rows))
        if permute_names_seed is not None:
            order = np.random.default_rng(permute_names_seed).permutation(len(rows))
        images[split] = embeddings.images(split)[order].astype(np.float64)  # float32 would round close scores to ties
    test, phrases = splits["test"], load_phrases()
    relevant = np.array([[concept in phrase.right for concept in test["concept_id"]] for phrase in phrases])
    groups = list(GROUP_NAMES["zh"])
    labels = np.array([groups.index(group) for group in test["group"]])
    results, answers, first, names_of = {}, [], {}, {}
    for language in languages:
        names = {split: list(rows[f"name_{language}"]) for split, rows in splits.items()}
        keyword_texts, true_of = keyword_queries(names["test"], test[f"keywords_{language}"], language)
        wanted = [phrase.texts[language] for phrase in phrases]
        prompts = [GROUP_NAMES[language][group] for group in groups]
        everything = [text for part in names.values() for text in part] + keyword_texts + wanted + prompts
        embeddings.texts(everything)  # at once, so that texts of one length share a batch
        names_of[language] = embeddings.texts(names["test"])
        scores = {
            "names": names_of[language] @ images["test"].T,
            "phrases": embeddings.texts(wanted) @ images["test"].T,
        }
        first[language] = {kind: part.argmax(axis=1) for kind, part in scores.items()}
        results[language] = {
            "unknown_tokens": embeddings.unknown_tokens(everything),
            "names": _name_recalls(scores["names"]),
            "keywords": keyword_recalls(embeddings.texts(keyword_texts) @ images["test"].T, true_of)
            | {"left_out": test[f"keywords_{language}"][:].count([])},
            "phrases": phrase_accuracy(scores["phrases"], relevant),
            "groups": top_k_accuracy(images["test"], embeddings.texts(prompts), labels, ks=(1,))
            | {"candidates": len(groups)},
        }
        for split in HELD_SPLITS:
            held = _name_recalls(embeddings.texts(names[split]) @ images[split].T)
            results[language][split] = held | {"style": splits[split][0]["style"]}
        answers += _answers(phrases, language, scores["phrases"], relevant, names["test"])
    agreement = {
        f"{one}-{other}": language_agreement((names_of[one], names_of[other]), (first[one], first[other]), len(test))
        for one, other in combinations(languages, 2)
    }
    about = {"style": test[0]["style"], "candidates": len(test)}
    return about | {"languages": results, "agreement": agreement, "phrases": answers}


def keyword_queries(
    names: Sequence[str], keywords: Sequence[Sequence[str]], language: str
) -> tuple[list[str], np.ndarray]:
    """Return the distinct texts of the first keywords of each concept, and (texts, concepts) what each is true of."""
    words = [{name, *own} for name, own in zip(names, keywords, strict=True)]
    parts = {join_parts(own[:MAX_KEYWORDS], language): own[:MAX_KEYWORDS] for own in keywords if own}
    return list(parts), np.array([[own.issuperset(text) for own in words] for text in parts.values()])


def keyword_recalls(scores: np.ndarray, true_of: np.ndarray) -> Metrics:
    """Return the recalls of both directions, where a text may be true of several images and images of several texts.

    Args:
        scores: (texts, images).
        true_of: (texts, images) bool. An image without a text is no query, but a candidate.
    """
    queries = true_of.any(axis=0)
    results: Metrics = {f"t2i_{name}": value for name, value in recall_at_k(scores, true_of).items()}
    both = recall_at_k(scores.T[queries], true_of.T[queries])
    return results | {f"i2t_{name}": value for name, value in both.items()} | {"texts": len(scores)}


def phrase_accuracy(scores: np.ndarray, relevant: np.ndarray) -> Metrics:
    """Return `hit@1`, `hit@10` (a right image among the first), `P@10` (how many of the first are right) and chance.

    Args:
        scores: (phrases, images).
        relevant: (phrases, images) bool, at least one image a phrase.
    """
    results: Metrics = {
        name.replace("R@", "hit@"): value for name, value in recall_at_k(scores, relevant, (1, 10)).items()
    }
    results["P@10"] = 100 * float(precision_at_k(scores, relevant).mean())
    return results | {"chance_P@10": 100 * float(relevant.mean()), "phrases": len(scores)}


def language_agreement(
    names: tuple[np.ndarray, np.ndarray], first: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], images: int
) -> dict[str, float]:
    """Return how far two languages agree, as `evaluate_language` says.

    Args:
        names: of each language (concepts, d) unit rows, of the same concepts.
        first: of each language, by kind of text, (texts,) the index of the image that a text finds first.
        images: how many there are.
    """
    results = {}
    for kind, found in first[0].items():
        results[kind] = 100 * float((found == first[1][kind]).mean())
        counts = [np.bincount(part[kind], minlength=images) / len(found) for part in first]
        results[f"chance_{kind}"] = 100 * float(counts[0] @ counts[1])
    one, other = (part.astype(np.float64) for part in names)
    same, pairs = (one * other).sum(), len(one) * (len(one) - 1)
    results["cosine"] = float(same / len(one))
    results["other_cosine"] = float((one.sum(axis=0) @ other.sum(axis=0) - same) / pairs)
    return results


def _name_recalls(scores: np.ndarray) -> Metrics:
    return {**retrieval_recalls(scores, range(len(scores))), "candidates": len(scores)}


def _answers(
    phrases: Sequence[Phrase], language: str, scores: np.ndarray, relevant: np.ndarray, names: Sequence[str]
) -> list[dict[str, object]]:
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :FOUND]
    ranks, precisions = best_ranks(scores, relevant), precision_at_k(scores, relevant)
    columns = zip(phrases, relevant.sum(axis=1), ranks, precisions, nearest, strict=True)
    return [
        {
            "language": language,
            "text": phrase.texts[language],
            "right": int(right),
            "rank": int(rank) + 1,
            "P@10": 100 * float(precision),
            "found": [names[index] for index in found],
        }
        for phrase, right, rank, precision, found in columns
    ]


def _check_languages(languages: Sequence[str]) -> None:
    if isinstance(languages, str) or not languages or len(set(languages)) < len(languages):
        raise ValueError(f"languages is {languages!r}; give a list of different ones, such as ['zh', 'en'].")
    for language in languages:
        check_language(language)


__all__ = [
    "evaluate_language",
    "keyword_queries",
    "keyword_recalls",
    "language_agreement",
    "phrase_accuracy",
]
