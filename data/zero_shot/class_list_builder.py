"""A class list by a rule that can be told and repeated, out of a class file with more classes than are wanted.

The rule is `RULE`; part (c) is only for a list with back-translation. A *lemma* is a plain word of the English names,
which stand in the column `name_en`, separated by `,` or `|` as in WordNet.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..files.atomic import atomic_file, check_output_file
from ..files.hashing import hash_file
from ..files.json_files import write_json
from ..rows.scripts import count_scripts
from .class_file import ClassRow, read_class_rows
from .class_list import ClassList, name_key

MAX_CHARACTERS = 8
RULE = {
    "a": f"names in NFKC, of Han characters only, 1 to {MAX_CHARACTERS} of them",
    "b": "no name that another class has as its name or as a synonym; no synonym of two classes",
    "c": "the name, translated back into English, shares a word with the English names of the class",
    "d": "in the order of class_id as text, every floor(n / count)-th of the n classes left, until there are count",
}
SHOWN = 5  # names of each reason in the report
# Words that two names of unlike things may share.
STOP_WORDS = {"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"}

BackTranslator = Callable[[Sequence[str]], Sequence[str | None]]


@dataclass
class BuiltClassList:
    """A list, and what was left out.

    Attributes:
        class_list: the Chinese names.
        english: text of `name_en` by id.
        rows: how many the source has.
        left_out: number of classes by the reason.
        examples: a few of them by the reason, as "id name".
        shared_synonyms: how many synonyms were taken out because two classes have them.
    """

    class_list: ClassList
    english: dict[str, str]
    rows: int
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    shared_synonyms: int = 0

    def __str__(self) -> str:
        counts = "".join(f"\n{count:>6}  {reason}" for reason, count in self.left_out.most_common())
        return f"{len(self.class_list)} of {self.rows} classes; left out:{counts or ' none'}"


def build_class_list(
    source: str | Path, *, count: int = 200, back_translate: BackTranslator | None = None
) -> BuiltClassList:
    """Return `count` classes of a class file by `RULE`.

    Args:
        source: as for `read_class_list`, where names may repeat.
        back_translate: Chinese names to English; None where it has none. By default part (c) is left out.

    Raises:
        FileNotFoundError, ValueError: as `read_class_rows`; no column `name_zh`, or with part (c) `name_en`; fewer
            classes than `count` are left.
    """
    columns, rows = read_class_rows(source)
    for column in ("name_zh", *(["name_en"] if back_translate else [])):
        if column not in columns:
            raise ValueError(f"{source} has no column {column}, only {', '.join(columns)}; add it.")
    names = {row.class_id: [_normalise(name) for name in row.names("zh")] for row in rows}
    owners = Counter(key for own in names.values() for key in {name_key(name) for name in own})
    firsts = Counter(name_key(own[0]) for own in names.values() if own)
    left: dict[str, ClassRow] = {row.class_id: row for row in rows}
    left_out, examples = Counter[str](), dict[str, list[str]]()

    def leave_out(reason: str, ids: Iterable[str]) -> None:
        for class_id in ids:
            del left[class_id]
            left_out[reason] += 1
            if len(examples.setdefault(reason, [])) < SHOWN:
                examples[reason].append(" ".join([class_id, *names[class_id][:1]]))

    leave_out("no name", [one for one in left if not names[one]])
    leave_out("other characters than Han", [one for one in left if not _is_han(names[one][0])])
    leave_out(f"longer than {MAX_CHARACTERS} characters", [one for one in left if len(names[one][0]) > MAX_CHARACTERS])
    leave_out("name of two classes", [one for one in left if firsts[name_key(names[one][0])] > 1])
    leave_out("name is a synonym of another class", [one for one in left if owners[name_key(names[one][0])] > 1])
    if back_translate:
        leave_out("no English name", [one for one in left if not content_words(left[one].cells.get("name_en", ""))])
        found = dict(zip(left, back_translate([names[one][0] for one in left]), strict=True))
        kept = {one for one, text in found.items() if content_words(text) & content_words(left[one].cells["name_en"])}
        leave_out("translated back, another word", [one for one in left if one not in kept])
    if count < 2 or len(left) < count:
        raise ValueError(
            f"{len(left)} of {len(rows)} classes of {source} are left ({_list(left_out)}), and {count} are wanted; "
            "give a count from 2 to as many, or a file with more classes."
        )
    ids = sorted(left)[:: len(left) // count][:count]
    shared = [name for one in ids for name in names[one][1:] if owners[name_key(name)] > 1]
    chosen = ClassList(
        tuple(ids), tuple((names[one][0], *(name for name in names[one][1:] if name not in shared)) for one in ids)
    )
    english = {one: left[one].cells.get("name_en", "") for one in ids}
    return BuiltClassList(chosen, english, len(rows), left_out, examples, len(shared))


def write_class_list(
    source: str | Path, output: str | Path, *, count: int = 200, back_translation_model: str | None = None
) -> BuiltClassList:
    """Write a class list by `RULE` with a comment that tells the rule, and beside it a report in JSON; return it.

    Args:
        source, count: as for `build_class_list`.
        output: a .tsv file; the report has its name with .json.
        back_translation_model: folder or hub id of a model that translates Chinese into English.

    Raises:
        FileNotFoundError, ValueError: as `build_class_list`; the output would replace the source.
        MissingModelError, ImportError: as `TranslationModel`.
    """
    source, output = Path(source), Path(output)
    report = output.with_suffix(".json")
    if report == output:
        raise ValueError(f"{output} is the name of the report; give a list that ends in .tsv.")
    for path in (output, report):
        check_output_file(path, source)
    read_class_rows(source)  # before a model is opened
    back_translate, identity = _open_back_translator(back_translation_model) if back_translation_model else (None, None)
    built = build_class_list(source, count=count, back_translate=back_translate)
    rule = {part: text for part, text in RULE.items() if part != "c" or identity}
    about = {
        "rule": rule,
        "count": count,
        "source": {"file": source.name, "sha256": hash_file(source), "classes": built.rows},
        "back_translation": identity,
        "left_out": dict(built.left_out),
        "examples": built.examples,
        "shared_synonyms": built.shared_synonyms,
        "classes": len(built.class_list),
        "sha256": built.class_list.sha256,
    }
    with atomic_file(output) as unfinished:
        unfinished.write_text(_format(built, rule, hash_file(source)), "utf-8")
    write_json(report, about)
    return built


def content_words(text: str | None) -> set[str]:
    """Return the words of English names or of a sentence in small letters, without those that say nothing.

    >>> sorted(content_words("kite (bird of prey), Milvus"))
    ['bird', 'kite', 'milvus', 'prey']
    """
    return set(re.findall(r"[a-z]+", (text or "").casefold())) - STOP_WORDS


def _open_back_translator(name: str) -> tuple[BackTranslator, dict[str, str]]:
    import torch

    from ..translation.language_codes import fill_template, find_direction
    from ..translation.model import DecodingSettings, TranslationModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = TranslationModel(fill_template(name, "zh", "en"), dtype=torch.float32, device=device)
    direction = find_direction(model.tokenizer, "zh", "en")
    settings = DecodingSettings(num_beams=1)
    return lambda names: [one.text for one in model.translate(names, direction, settings)], model.identity


def _normalise(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _is_han(name: str) -> bool:
    return count_scripts(name)["Han"] == len(name)


def _list(left_out: Counter[str]) -> str:
    return ", ".join(f"{reason}: {number}" for reason, number in left_out.items()) or "none left out"


def _format(built: BuiltClassList, rule: dict[str, str], source_sha256: str) -> str:
    lines = [f"# {len(built.class_list)} classes by rule:", *(f"# ({part}) {text}" for part, text in rule.items())]
    lines += [f"# sha256 of the source: {source_sha256}", f"# sha256 of the classes: {built.class_list.sha256}"]
    lines.append("class_id\tname_zh\tname_en\tsynonyms_zh")
    for class_id, (name, *synonyms) in zip(built.class_list.ids, built.class_list.names, strict=True):
        lines.append("\t".join([class_id, name, built.english[class_id], "|".join(synonyms)]).rstrip("\t"))
    return "\n".join(lines) + "\n"


__all__ = ["RULE", "BuiltClassList", "build_class_list", "content_words", "write_class_list"]
