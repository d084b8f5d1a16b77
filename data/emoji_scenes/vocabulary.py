"""The words of EmojiScenes in the paper's seven languages: 128 classes, ten background colours, four attributes.

A class is a detector concept of emoji7; its id is its position among them, sorted as the strings of code points that
name them there.
"""

from dataclasses import dataclass

from ..emoji7.dataset import FOLDER
from ..rows.languages import LANGUAGES

# What an object looks like, beside its class; each can be read off its box.
ATTRIBUTE_NAMES = ("big", "small", "wide", "tall")

COLOUR_NAMES = {
    "zh": ("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "灰色", "白色", "棕色"),
    "en": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "gray", "white", "brown"),
    "de": ("Rot", "Orange", "Gelb", "Grün", "Blau", "Lila", "Rosa", "Grau", "Weiß", "Braun"),
    "fr": ("rouge", "orange", "jaune", "vert", "bleu", "violet", "rose", "gris", "blanc", "marron"),
    "cs": ("červená", "oranžová", "žlutá", "zelená", "modrá", "fialová", "růžová", "šedá", "bílá", "hnědá"),
    "ja": ("赤", "オレンジ色", "黄色", "緑", "青", "紫", "ピンク", "灰色", "白", "茶色"),
    "ko": ("빨간색", "주황색", "노란색", "초록색", "파란색", "보라색", "분홍색", "회색", "흰색", "갈색"),
}

# Where CLDR names a head ("wolf face"), a garment with another or a subspecies, a plain noun of our own. By concept.
OVERRIDES = {
    "1f43a": {"cs": "vlk", "ja": "オオカミ", "ko": "늑대"},
    "1f981": {"fr": "lion", "cs": "lev", "ja": "ライオン", "ko": "사자"},
    "1f98a": {"cs": "liška", "ja": "キツネ", "ko": "여우"},
    "1f43c": {"cs": "panda", "ja": "パンダ", "ko": "판다"},
    "1f984": {"cs": "jednorožec", "ja": "ユニコーン", "ko": "유니콘"},
    "1f438": {"cs": "žába", "ja": "カエル", "ko": "개구리"},
    "1f454": {"de": "Krawatte"},
    "1f42a": {"cs": "velbloud"},
    "2602-fe0f": {"fr": "parapluie"},
    "26bd": {"ja": "サッカーボール"},
    "1f3c0": {"fr": "ballon de basket", "ko": "농구공"},
    "1f344": {"de": "Pilz"},
    "1f348": {"de": "Melone"},
}


@dataclass(frozen=True)
class SceneClass:
    """One class: its emoji7 concept (code points), the concept's group, and its name by language."""

    concept: str
    group: str
    names: dict[str, str]


def _read_classes() -> tuple[SceneClass, ...]:
    import pyarrow.parquet as pq

    columns = ["concept", "group", "detector_class", *(f"name_{language}" for language in LANGUAGES)]
    rows = pq.read_table(FOLDER / "concepts.parquet", columns=columns).to_pylist()
    return tuple(
        SceneClass(
            concept=row["concept"],
            group=row["group"],
            names={language: row[f"name_{language}"] for language in LANGUAGES} | OVERRIDES.get(row["concept"], {}),
        )
        for row in sorted(rows, key=lambda row: row["concept"])
        if row["detector_class"]
    )


SCENE_CLASSES = _read_classes()
CLASS_NAMES = {language: tuple(one.names[language] for one in SCENE_CLASSES) for language in LANGUAGES}

__all__ = ["ATTRIBUTE_NAMES", "CLASS_NAMES", "COLOUR_NAMES", "SCENE_CLASSES", "SceneClass"]
