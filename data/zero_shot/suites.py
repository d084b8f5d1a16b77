"""Suites: files that name several data sets, of which a table gets one row each.

A suite is a YAML list; paths in it are relative to its folder:

    - name: imagenet-200
      images: imagenet/val              # a folder with a folder of images a class, a data set on disk, or shards
      classes: imagenet_200.tsv         # as for `read_class_list`
      templates: own_templates.txt      # as for `read_templates`; by default ours
      language: zh                      # by default zh
    - name: cifar10
      images: "cifar10/{0000..0003}.tar"
      classes: {json: en_classnames.json, dataset: cifar10}
      templates: {json: en_zeroshot_classification_templates.json, dataset: cifar10}
      language: en
    - name: pets
      elevater: ELEVATER/oxford-iiit-pets

*json* files are those of CLIP_benchmark: an object of lists by data set, or one list; {c} in a template stands for the
name. An *elevater* folder holds `test/` (or the classes themselves), and the names in the order of the folders: in
`label_cn.txt` for Chinese, in `label.txt` for English, in `label_XX.txt` for XX, one a line. It may hold
`prompts.json`, a list of templates. Two classes with one name are an error, but in a data set with
`repeated_names: keep` both are evaluated, as CLIP_benchmark does, and the first of them wins.
"""

import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import yaml

from ..files.bounded import read_bounded_text
from ..files.json_files import read_json
from ..pairs.shards import KINDS, find_shards
from ..rows.scripts import check_language
from .class_file import describe_faults, read_lines
from .class_list import ClassList, find_name_faults, read_class_list
from .templates import PLACE, load_templates, read_templates

FIELDS = ("name", "images", "classes", "templates", "language", "elevater", "repeated_names")
LABEL_FILES = {"zh": "label_cn.txt", "en": "label.txt"}
PROMPTS, TEST = "prompts.json", "test"
KEEP = "keep"  # of repeated_names
CLIP_PLACE = "{c}"  # of the name in a template of CLIP_benchmark
MAX_BYTES = 1 << 20  # of a suite

Found = TypeVar("Found")


@dataclass(frozen=True)
class SuiteEntry:
    """A data set of a suite.

    Attributes:
        name: of its row.
        images: folder with a folder a class, folder of a data set, or file or pattern of shards.
        class_list: its classes. Where the names come without ids, these are the names of the folders in their order,
            and without folders the numbers "0", "1" ...
        templates: for the names, each with one {}.
        language: of the names.
    """

    name: str
    images: str
    class_list: ClassList
    templates: tuple[str, ...]
    language: str


def read_suite(path: str | Path) -> list[SuiteEntry]:
    """Return the data sets of a suite. Nothing is downloaded, and no image is opened.

    Raises:
        FileNotFoundError: no such suite.
        ValueError: it is no list in YAML, or there are errors in its data sets, all of which are told.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(read_bounded_text(path, max_bytes=MAX_BYTES))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no suite {path}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(content, list) or not content or not all(isinstance(one, dict) for one in content):
        raise ValueError(f"{path} is no suite: write a list of data sets, each with {', '.join(FIELDS[:3])}.")
    entries, errors, names = [], list[str](), set[str]()
    for number, fields in enumerate(content, start=1):
        reader = _EntryReader(fields, path.parent)
        entry = reader.read()
        label = f"data set {number} ({fields.get('name', 'without name')})"
        if (name := str(fields.get("name"))) in names:
            reader.errors.append(f"a data set before has the name {name!r}, too; give each its own")
        names.add(name)
        errors += [f"{label}: {error}" for error in reader.errors]
        entries += [entry] if entry is not None else []
    if errors:
        raise ValueError("\n".join([f"{path} has {len(errors)} error{'s' * (len(errors) > 1)}:", *errors]))
    return entries


class _EntryReader:
    """Reads one data set, and goes on after an error to find the others."""

    def __init__(self, fields: Mapping[str, object], root: Path) -> None:
        self.fields, self.root = fields, root
        self.errors: list[str] = []

    def read(self) -> SuiteEntry | None:
        """Return the data set; None, and `errors`, where something is wrong."""
        self._check_fields()
        language = self.fields.get("language", "zh")
        if self._try(lambda: check_language(str(language))) is None and self.errors:
            language = "zh"  # other errors can still be told
        language = str(language)
        images = self._try(self._find_images)
        classes = self._try(lambda: self._read_classes(images, language))
        templates = self._try(lambda: self._read_templates(language))
        if self.errors or images is None or classes is None or templates is None:
            return None
        return SuiteEntry(str(self.fields["name"]), images, classes, templates, language)

    def _try(self, read: Callable[[], Found]) -> Found | None:
        try:
            return read()
        except (ValueError, OSError) as error:
            self.errors.append(str(error))
            return None

    def _check_fields(self) -> None:
        for field in self.fields:
            if field not in FIELDS:
                near = get_close_matches(str(field), FIELDS, n=1)
                meant = f"do you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)}."
                self.errors.append(f"unknown field {field!r}; {meant}")
        if (given := self.fields.get("repeated_names", KEEP)) != KEEP:
            self.errors.append(f"repeated_names is {given!r}; give {KEEP}, or leave it out.")
        if not isinstance(self.fields.get("name"), str | int):
            self.errors.append("it has no name; give one.")
        if "elevater" in self.fields and (both := {"images", "classes"} & self.fields.keys()):
            self.errors.append(f"elevater stands for {' and '.join(sorted(both))}; give the one or the other.")

    def _path(self, field: str, value: object) -> Path:
        if not isinstance(value, str):
            raise ValueError(f"{field} is {value!r}; give a path.")
        return self.root / Path(value).expanduser()

    def _find_images(self) -> str:
        if "elevater" in self.fields:
            folder = self._path("elevater", self.fields["elevater"])
            images = folder / TEST if (folder / TEST).is_dir() else folder
        else:
            if "images" not in self.fields:
                raise ValueError("it has no images; give a folder, a data set on disk, or shards.")
            images = self._path("images", self.fields["images"])
        if images.exists():
            return str(images)
        if glob.has_magic(str(images)) or "{" in str(images) or images.suffix in KINDS:
            find_shards(str(images))
            return str(images)
        raise FileNotFoundError(f"There is no {images}; nothing is downloaded here.")

    def _read_classes(self, images: str | None, language: str) -> ClassList:
        if "elevater" in self.fields:
            folder = self._path("elevater", self.fields["elevater"])
            file = folder / LABEL_FILES.get(language, f"label_{language}.txt")
            return self._number_classes([line.strip() for _, line in read_lines(file)], images, file)
        given = self.fields.get("classes")
        if given is None:
            raise ValueError("it has no classes; give a class file, or {json: FILE, dataset: NAME}.")
        if isinstance(given, dict):
            file, names = self._read_json_list("classes", given)
            return self._number_classes(names, images, file)
        if "repeated_names" in self.fields:
            raise ValueError("repeated_names is of names without ids; in a class file each class needs its own.")
        return read_class_list(self._path("classes", given), language)

    def _number_classes(self, names: list[str], images: str | None, file: Path) -> ClassList:
        """Return the classes of names without ids: those of the folders in their order, or numbers."""
        root = Path(images) if images is not None else None
        ids = [str(number) for number in range(len(names))]
        if root is not None and root.is_dir():
            folders = sorted(one.name for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
            if folders and len(folders) != len(names):
                raise ValueError(
                    f"{file} has {len(names)} names, and {root} {len(folders)} folders; they must be as many."
                )
            ids = folders or ids
        own = tuple((name,) for name in names)
        try:
            classes = ClassList(tuple(ids), own, repeated_names=True)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        if "repeated_names" not in self.fields and (faults := find_name_faults([f"class {one}" for one in ids], own)):
            remedy = f"give each class its own, or the data set repeated_names: {KEEP}, with which the first wins"
            raise ValueError(describe_faults(file, faults, remedy))
        return classes

    def _read_templates(self, language: str) -> tuple[str, ...]:
        given = self.fields.get("templates")
        if given is None and "elevater" in self.fields:
            prompts = self._path("elevater", self.fields["elevater"]) / PROMPTS
            given = {"json": str(prompts.absolute())} if prompts.is_file() else None
        if given is None:
            return load_templates(language)
        if not isinstance(given, dict):
            return read_templates(self._path("templates", given))
        file, texts = self._read_json_list("templates", given)
        templates = tuple(text.replace(CLIP_PLACE, PLACE) for text in texts)
        if wrong := [text for text in templates if text.count(PLACE) != 1]:
            raise ValueError(f"{file}: the template {wrong[0]!r} must have {CLIP_PLACE} or {PLACE} once.")
        return tuple(dict.fromkeys(templates))

    def _read_json_list(self, field: str, given: Mapping[str, object]) -> tuple[Path, list[str]]:
        if unknown := sorted(map(str, given.keys() - {"json", "dataset"})):
            raise ValueError(f"{field} has an unknown field {unknown[0]!r}; give json and dataset.")
        file = self._path(f"json of {field}", given.get("json"))
        content, name = read_json(file), given.get("dataset")
        if isinstance(content, dict):
            if name not in content:
                near = get_close_matches(str(name), content, n=3) or list(content)[:5]
                raise ValueError(f"{file} has no data set {name!r}; it has {', '.join(near)} ...")
            content = content[name]
        if not isinstance(content, list) or not content or not all(isinstance(one, str) for one in content):
            raise ValueError(f"{file} holds no list of texts{f' for {name!r}' if name else ''}; is it another file?")
        return file, content


__all__ = ["SuiteEntry", "read_suite"]
