"""Data sets of a zero-shot classification: labelled images, and class names and templates by language."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..emoji7.dataset import load_emoji7
from .class_list import ClassList, read_class_list
from .images import LabelledImages, Source
from .suites import read_suite
from .templates import load_templates, read_templates

EMOJI7 = "emoji7"  # in place of a folder of images


@dataclass(frozen=True)
class ZeroShotData:
    """Images and their classes.

    Attributes:
        name: of the data set.
        images: as of `LabelledImages`, and so are the columns and the split.
        classes: of each language, with the same ids.
        templates: of each language.
        image_column, label_column, split: as there.

    Raises:
        ValueError: no language, or two whose classes differ.
    """

    name: str
    images: Source
    classes: Mapping[str, ClassList]
    templates: Mapping[str, Sequence[str]]
    image_column: str = "image"
    label_column: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("Give one language or more.")
        (first, ids), *others = [(language, classes.ids) for language, classes in self.classes.items()]
        if different := [language for language, other in others if other != ids]:
            raise ValueError(
                f"{self.name}: the classes in {', '.join(different)} have other ids than those in {first}."
            )

    @property
    def class_ids(self) -> tuple[str, ...]:
        """The ids of the classes, in their order."""
        return next(iter(self.classes.values())).ids

    def open_images(self, *, limit: int | None = None) -> LabelledImages:
        """Return the images with their labels; `limit` and errors as of `LabelledImages`."""
        return LabelledImages(
            self.images,
            self.class_ids,
            image_column=self.image_column,
            label_column=self.label_column,
            split=self.split,
            limit=limit,
        )


def emoji7_data(languages: Sequence[str], templates: Sequence[str | Path] = ()) -> ZeroShotData:
    """Return the drawing style of emoji7 that no model was trained on, with its 1,198 concepts as classes.

    Args:
        languages: of the names.
        templates: a file for each language; ours by default.

    Raises:
        ValueError: a language that emoji7 does not have, or not as many files as languages.
    """
    images = load_emoji7()["test"]
    rows = images.remove_columns("image")
    chosen = choose_templates(languages, templates)
    classes = {
        language: ClassList(tuple(rows["concept"]), tuple((name,) for name in rows[f"name_{language}"]))
        for language in languages
    }
    return ZeroShotData(EMOJI7, images, classes, chosen, label_column="concept")


def own_data(
    images: str | Path,
    class_file: str | Path,
    languages: Sequence[str] = ("zh",),
    templates: Sequence[str | Path] = (),
    *,
    image_column: str = "image",
    label_column: str | None = None,
    split: str | None = None,
) -> ZeroShotData:
    """Return the user's own images and class file.

    Args:
        images, image_column, label_column, split: as of `LabelledImages`.
        class_file: see `read_class_list`.
        languages: of the names.
        templates: a file for each language; ours by default.

    Raises:
        FileNotFoundError, ValueError: as `read_class_list` and `read_templates`; not as many files as languages.
    """
    chosen = choose_templates(languages, templates)
    classes = {language: read_class_list(class_file, language) for language in languages}
    name = Path(images).name or str(images)
    return ZeroShotData(name, images, classes, chosen, image_column, label_column, split)


def suite_data(
    suite: str | Path, *, image_column: str = "image", label_column: str | None = None, split: str | None = None
) -> list[ZeroShotData]:
    """Return the data sets of a suite (see `read_suite`); columns and split are those of all of them.

    Raises:
        FileNotFoundError, ValueError: as `read_suite`; a name that cannot be the name of a folder.
    """
    entries = read_suite(suite)
    if bad := [one.name for one in entries if not re.fullmatch(r"\w[\w.-]*", one.name)]:
        raise ValueError(f"{suite}: the name {bad[0]!r} is to be a folder's; write letters, digits, ., - and _ alone.")
    return [
        ZeroShotData(
            one.name,
            one.images,
            {one.language: one.class_list},
            {one.language: one.templates},
            image_column,
            label_column,
            split,
        )
        for one in entries
    ]


def choose_templates(languages: Sequence[str], files: Sequence[str | Path]) -> dict[str, Sequence[str]]:
    """Return the templates of each language: those of its file, ours without files.

    Raises:
        ValueError: not as many files as languages, a language twice, or one that we have no templates for.
    """
    if len(set(languages)) < len(languages):
        raise ValueError(f"The languages are {', '.join(languages)}; give each once.")
    if not files:
        return {language: load_templates(language) for language in languages}
    if len(files) != len(languages):
        raise ValueError(
            f"{len(files)} files of templates for {len(languages)} languages; give as many, in their order."
        )
    return {language: read_templates(file) for language, file in zip(languages, files, strict=True)}


__all__ = ["EMOJI7", "ZeroShotData", "choose_templates", "emoji7_data", "own_data", "suite_data"]
