"""The concepts of emoji7: which emoji are kept, what they are called in seven languages, and which are held out.

*concept*: one emoji, skin tones folded, written as its hexadecimal code points joined by `-`.
*detector class*: one of the 128 singular count nouns that the composed scenes ask a detector to find; never held out.
"""

import json
import random
from pathlib import Path

from wenlan.data.rows.languages import LANGUAGES

HELD_SEED = 20260101
HELD_FRACTION = 0.11

_DETECTOR_CLASSES = """
    monkey, gorilla, dog, wolf, fox, raccoon, cat, lion, tiger, horse, unicorn, zebra, deer, cow, pig, camel, giraffe,
    elephant, rabbit, hedgehog, panda, kangaroo, penguin, owl, duck, flamingo, peacock, parrot, frog, crocodile, turtle,
    snake, whale, dolphin, shark, octopus, crab, lobster, snail, butterfly, honeybee, spider, rose, tulip, cactus,
    mushroom, melon, watermelon, lemon, banana, pineapple, red apple, pear, peach, strawberry, tomato, avocado, potato,
    carrot, cucumber, onion, croissant, pretzel, hamburger, pizza, hot dog, taco, egg, doughnut, cookie, cupcake,
    lollipop, teapot, compass, volcano, house, castle, tent, locomotive, bus, ambulance, taxi, tractor, racing car,
    motorcycle, bicycle, skateboard, anchor, sailboat, airplane, helicopter, rocket, alarm clock, umbrella, balloon,
    trophy, soccer ball, basketball, kite, teddy bear, puzzle piece, artist palette, necktie, dress, backpack, crown,
    top hat, bell, microphone, guitar, violin, trumpet, drum, laptop, television, camera, light bulb, key, hammer,
    scissors, microscope, chair, door, toothbrush, bomb, candle, pencil, envelope
"""
DETECTOR_CLASSES = frozenset(name.strip() for name in _DETECTOR_CLASSES.split(","))

MAN, WOMAN, ZERO_WIDTH_JOINER = "1f468", "1f469", "200d"
GENDER_SIGNS = {"2640", "2642"}
CLOCK_FACES = range(0x1F550, 0x1F568)
IMAGES_OF_TEXT = {"00a9-fe0f", "00ae-fe0f", "2122-fe0f"}  # (c), (R), TM; the others have a subgroup of their own
TWINS = {"1f9d1-200d-1f91d-200d-1f9d1", "1f9d1-200d-1f9d1-200d-1f9d2"}  # drawn like another family or couple


def is_image_of_a_thing(concept: str, group: str, subgroup: str) -> bool:
    """Return True for the emoji that show something; flags, signs of text, clock faces and repeats are left out."""
    points = concept.split("-")
    repeats_another = ZERO_WIDTH_JOINER in points and (
        points[0] in (MAN, WOMAN)  # the person form stays
        or bool(GENDER_SIGNS & set(points))
        or concept.endswith("27a1-fe0f")  # facing right
    )
    return not (
        group in ("Flags", "Component")
        or subgroup in ("keycap", "alphanum")
        or concept in IMAGES_OF_TEXT
        or int(points[0], 16) in CLOCK_FACES
        or repeats_another
        or concept in TWINS
    )


def read_concepts(packages: Path) -> list[dict]:
    """Return the rows of concepts.parquet, in the order of the emoji list, from the folder of npm packages."""
    listed = json.loads((packages / "emoji-datasource-google/emoji.json").read_text("utf-8"))
    rows = []
    for entry in sorted(listed, key=lambda entry: entry["sort_order"]):
        concept = entry["unified"].lower()
        if is_image_of_a_thing(concept, entry["category"], entry["subcategory"]):
            emoji = "".join(chr(int(point, 16)) for point in concept.split("-"))
            rows.append(
                {"concept": concept, "emoji": emoji, "group": entry["category"], "subgroup": entry["subcategory"]}
            )
    annotations = {language: read_annotations(packages, language) for language in LANGUAGES}
    for row in rows:
        bare = row["emoji"].replace("\ufe0f", "")
        for language in LANGUAGES:
            annotation = annotations[language][bare]
            row[f"name_{language}"] = name = annotation["tts"][0]
            row[f"keywords_{language}"] = [word for word in annotation["default"] if word != name]
        row["detector_class"] = row["name_en"] in DETECTOR_CLASSES
    held = draw_held_concepts(rows)
    for row in rows:
        row["concept_split"] = "held" if row["concept"] in held else "seen"
    check_concepts(rows)
    return rows


def read_annotations(packages: Path, language: str) -> dict[str, dict[str, list[str]]]:
    """Map an emoji (without U+FE0F) to its CLDR entry: `tts` = [name], `default` = keywords."""
    base = packages / f"cldr-annotations-full/annotations/{language}/annotations.json"
    derived = packages / f"cldr-annotations-derived-full/annotationsDerived/{language}/annotations.json"
    return {
        **json.loads(derived.read_text("utf-8"))["annotationsDerived"]["annotations"],
        **json.loads(base.read_text("utf-8"))["annotations"]["annotations"],
    }


def draw_held_concepts(rows: list[dict]) -> set[str]:
    """Return the concepts that training never sees: 11 % of each subgroup, no detector class; always the same ones."""
    generator = random.Random(HELD_SEED)
    held: set[str] = set()
    for subgroup in sorted({row["subgroup"] for row in rows}):
        candidates = sorted(row["concept"] for row in rows if row["subgroup"] == subgroup and not row["detector_class"])
        generator.shuffle(candidates)
        held.update(candidates[: round(HELD_FRACTION * len(candidates))])
    return held


def check_concepts(rows: list[dict]) -> None:
    """Raise ValueError if a detector class is missing or a name is used twice inside a language."""
    missing = DETECTOR_CLASSES - {row["name_en"] for row in rows}
    if missing:
        raise ValueError(f"these detector classes are no English name of any concept: {sorted(missing)}")
    for language in LANGUAGES:
        names = [row[f"name_{language}"] for row in rows]
        if len(set(names)) != len(names):
            raise ValueError(f"the {language} names are not unique: {sorted({n for n in names if names.count(n) > 1})}")


__all__ = ["DETECTOR_CLASSES", "draw_held_concepts", "is_image_of_a_thing", "read_concepts"]
