"""emoji7: 1356 concepts drawn in six styles, named in the paper's seven languages, small enough to ship with code.

*concept*: one emoji; *style*: one art set; *held* concepts appear in no training row. The card, `README.md`, has
the sources, their licences and the limits.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..rows.languages import LANGUAGES

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

FOLDER = Path(__file__).parent

# split -> (concept split, styles). fluentflat and fluent3d share designs, so neither is ever trained on.
SPLITS = {
    "train": ("seen", ("noto", "twemoji", "notov1", "emojitwo")),
    "validation": ("seen", ("fluentflat",)),
    "test": ("seen", ("fluent3d",)),
    "test_held": ("held", ("fluent3d",)),
    "test_held_noto": ("held", ("noto",)),
}

# language -> value of the column `group` -> a prompt for zero-shot classification. Our own words, not CLDR's; the short
# Chinese ones were chosen on the validation style, where they beat pairs such as 动物和自然 (33.5 against 28.9 %).
_GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
)
_PROMPTS = {
    "zh": ("表情", "人物", "动物", "食物", "旅行", "活动", "物品", "符号"),
    "en": tuple(group.lower().replace("&", "and") for group in _GROUPS),
    "de": ("Smileys", "Menschen", "Tiere", "Essen", "Reisen", "Aktivitäten", "Gegenstände", "Symbole"),
    "fr": ("smileys", "personnes", "animaux", "nourriture", "voyages", "activités", "objets", "symboles"),
    "cs": ("smajlíci", "lidé", "zvířata", "jídlo", "cestování", "aktivity", "předměty", "symboly"),
    "ja": ("表情", "人物", "動物", "食べ物", "旅行", "活動", "物", "記号"),
    "ko": ("표정", "인물", "동물", "음식", "여행", "활동", "물건", "기호"),
}
GROUP_NAMES = {language: dict(zip(_GROUPS, prompts, strict=True)) for language, prompts in _PROMPTS.items()}

# How a name and its keywords are joined: as a list is written in Chinese and in Japanese, by a space elsewhere.
SEPARATORS = {"zh": "，", "ja": "、"}
MAX_KEYWORDS = 3


def load_emoji7() -> "DatasetDict":
    """Return the splits: train (4209 rows), validation (1199), test (1198), test_held (140) and test_held_noto (141).

    A row is one concept in one style: `image` (96 x 96 RGBA), `concept` (hexadecimal code points), `concept_id` (int,
    its row number in concepts.parquet), `style`, `emoji`, `group`, `subgroup`, `detector_class` (bool), and for each XX
    in `LANGUAGES` a `name_XX` and the list `keywords_XX`. Nothing is downloaded or written; the images stay encoded
    until a row is read.

    >>> emoji7 = load_emoji7()
    >>> emoji7["train"][0]["name_zh"], emoji7["train"][0]["image"].size
    ('嘿嘿', (96, 96))
    """
    from datasets import DatasetDict

    return DatasetDict({split: _load_split(split) for split in SPLITS})


def _load_split(split: str) -> "Dataset":
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from datasets import Dataset, DatasetInfo, Features, Image, NamedSplit
    from datasets.table import InMemoryTable

    concept_split, styles = SPLITS[split]
    concepts = pq.read_table(FOLDER / "concepts.parquet")
    images = pa.concat_tables(pq.read_table(FOLDER / f"images_{style}.parquet") for style in styles)
    concept_id = pc.index_in(images["concept"], concepts["concept"])
    wanted = pc.equal(concepts["concept_split"].take(concept_id), concept_split)
    images, concept_id = images.filter(wanted), concept_id.filter(wanted).cast(pa.int64())
    encoded = images["image"].combine_chunks()
    columns = {
        "image": pa.StructArray.from_arrays([encoded, pa.nulls(len(encoded), pa.string())], ["bytes", "path"]),
        "concept": images["concept"],
        "concept_id": concept_id,
        "style": images["style"],
    }
    of_the_concept = concepts.drop_columns(["concept", "concept_split"]).take(concept_id)
    table = pa.table(columns | dict(zip(of_the_concept.column_names, of_the_concept.columns, strict=True)))
    info = DatasetInfo(features=Features({**Features.from_arrow_schema(table.schema), "image": Image()}))
    return Dataset(InMemoryTable(table), info=info, split=NamedSplit(split))


def draw_text(row: Mapping[str, Any], rng: random.Random, language: str = "zh") -> str:
    """Return a text of the row's concept: its name (p 0.5), its name and 1-3 keywords (0.25), or 1-3 keywords (0.25).

    The last kind is what the paper calls weakly correlated pairs. Keywords are drawn without repetition; a concept
    without any gives its name. Parts are joined by "，" in Chinese, "、" in Japanese and a space elsewhere.

    Raises:
        ValueError: the language is not in `LANGUAGES`.
    """
    return join_parts(draw_parts(row, rng, language), language)


def draw_parts(row: Mapping[str, Any], rng: random.Random, language: str) -> list[str]:
    """Return the parts of a text of the row's concept as `draw_text` draws it."""
    check_language(language)
    name, keywords = row[f"name_{language}"], row[f"keywords_{language}"]
    if not isinstance(name, str) or not isinstance(keywords, list):
        raise ValueError(f"name_{language} is {name!r} and keywords_{language} {keywords!r}; give a row of emoji7.")
    kind = rng.random()
    if kind < 0.5 or not keywords:
        return [name]
    drawn = rng.sample(keywords, min(rng.randint(1, MAX_KEYWORDS), len(keywords)))
    return [name, *drawn] if kind < 0.75 else drawn


def join_parts(parts: Sequence[str], language: str) -> str:
    """Return name and keywords as one text."""
    return SEPARATORS.get(language, " ").join(parts)


def read_concepts(language: str) -> dict[int, dict[str, Any]]:
    """Return name and keywords of the seen concepts by `concept_id`.

    Raises:
        ValueError: the language is not in `LANGUAGES`.
    """
    import pyarrow.parquet as pq

    check_language(language)
    columns = ["concept_split", f"name_{language}", f"keywords_{language}"]
    rows = pq.read_table(FOLDER / "concepts.parquet", columns=columns).to_pylist()
    return {number: row for number, row in enumerate(rows) if row["concept_split"] == "seen"}


def training_texts(language: str) -> list[str]:
    """Return every name and keyword of the seen concepts, repeats included: the text to build a vocabulary from.

    Raises:
        ValueError: the language is not in `LANGUAGES`.
    """
    rows = read_concepts(language).values()
    return [text for row in rows for text in [row[f"name_{language}"], *row[f"keywords_{language}"]]]


def check_language(language: str) -> None:
    """Raise ValueError for a language that is none of `LANGUAGES`."""
    if language not in LANGUAGES:
        raise ValueError(f"emoji7 has no language {language!r}; it has {', '.join(LANGUAGES)}.")


__all__ = [
    "GROUP_NAMES",
    "SPLITS",
    "check_language",
    "draw_parts",
    "draw_text",
    "join_parts",
    "load_emoji7",
    "read_concepts",
    "training_texts",
]
