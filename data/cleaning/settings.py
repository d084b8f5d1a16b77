"""The cleaning rules, their settings, and the account of what each one left out."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..rows.report import describe_not_looked_at

# rule -> what it does at the default settings, in the order in which the rules are applied
RULES = {
    "readable_row": "Keeps rows with an image and a text that is valid, not endless and not empty.",
    "decode_text": "Takes HTML, URLs, @names, #, control characters and repeated punctuation out of texts.",
    "simplified": "Turns traditional into simplified characters; needs OpenCC.",
    "han_length": "Keeps texts of 4 to 200 Han characters.",
    "han_fraction": "Keeps texts that are Han characters by half, white space not counted.",
    "drop_words": "Keeps texts without the words of a UTF-8 file, one a line; may be given several times.",
    "cooccurring_text": "Keeps one pair of a text that stands beside more than 10 different images.",
    "cooccurring_image": "Keeps three texts of an image that stands beside more than 10 different texts.",
    "equal_pairs": "Keeps the first of several pairs of the same image and text.",
    "image_readable": "Keeps images that exist below the image root and can be decoded.",
    "image_side": "Keeps images of at least 100 pixels a side.",
    "image_aspect": "Keeps images at most 3 times as long as wide.",
    "image_bytes": "Keeps image files of more than 5 KB (5,120 bytes).",
    "image_colour": "Keeps images of more than one colour.",
    "exact_duplicates": "Keeps the first of several image files with the same bytes (SHA-256).",
    "near_duplicates": "Keeps the first of several images that look alike (64-bit difference hash, 3 bits apart).",
}
ALWAYS_ON = ("readable_row",)
REWRITING = ("decode_text", "simplified")  # these two leave nothing out
ASKED_FOR = ("simplified", "drop_words")  # off by default; settings of their own turn them on
SWITCHES = tuple(rule for rule in RULES if rule not in ALWAYS_ON + ASKED_FOR)


@dataclass(frozen=True, kw_only=True)
class CleanSettings:
    """The rules that are applied, and their limits.

    Attributes:
        skip: the rules of `SWITCHES` that are turned off.
        simplified: turn traditional into simplified characters; needs OpenCC.
        drop_words: UTF-8 files of words that no text may hold, one a line.
        min_han, max_han: Han characters of a text.
        min_han_fraction: of the characters that are no white space.
        max_images_per_text, kept_images_per_text: a text beside more different images keeps so many of them.
        max_texts_per_image, kept_texts_per_image: an image beside more different texts keeps so many of them.
        min_side: of an image, in pixels.
        max_aspect: long side / short side.
        min_bytes: an image file must have more.

    Raises:
        ValueError: `skip` names no switch.
    """

    skip: Collection[str] = ()
    simplified: bool = False
    drop_words: tuple[Path, ...] = ()
    min_han: int = 4
    max_han: int = 200
    min_han_fraction: float = 0.5
    max_images_per_text: int = 10
    kept_images_per_text: int = 1
    max_texts_per_image: int = 10
    kept_texts_per_image: int = 3
    min_side: int = 100
    max_aspect: float = 3.0
    min_bytes: int = 5 * 1024

    def __post_init__(self) -> None:
        for rule in self.skip:
            if rule not in SWITCHES:
                nearest = difflib.get_close_matches(rule, SWITCHES, n=1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(SWITCHES)}."
                raise ValueError(f"{rule!r} is no cleaning rule that can be skipped; {hint}")

    def applies(self, rule: str) -> bool:
        """Return whether a rule is on."""
        if rule in ASKED_FOR:
            return bool(getattr(self, rule))
        return rule not in self.skip

    def as_dict(self) -> dict:
        """Return plain values for JSON."""
        return dataclasses.asdict(self) | {"skip": sorted(self.skip), "drop_words": [str(p) for p in self.drop_words]}


@dataclass
class RuleCount:
    """Counts of what one rule left out: rows (their last caption went), captions in all, and the first case."""

    rows: int = 0
    captions: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    example: str | None = None


@dataclass
class CleanReport:
    """The account of one run. Rows that come out = rows in - the sum over the rules; captions likewise.

    Attributes:
        source: the file or folder that was read.
        output: the file of the kept pairs.
        image_root: the folder that the paths in it are relative to.
        settings: of the run.
        rows_in, rows_out: a row with a list of captions counts once.
        captions_in, captions_out: here each caption counts.
        captions_changed: captions that `decode_text` or `simplified` changed, kept or not.
        example_change: the first of them.
        not_looked_at: what the folder of the source holds beside the rows, such as images that no row names.
        dropped: rule -> what it left out, in the order of `RULES`, without the two that only rewrite.
    """

    source: Path
    output: Path
    image_root: Path
    settings: CleanSettings
    rows_in: int = 0
    rows_out: int = 0
    captions_in: int = 0
    captions_out: int = 0
    captions_changed: int = 0
    example_change: str | None = None
    not_looked_at: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, RuleCount] = field(
        default_factory=lambda: {rule: RuleCount() for rule in RULES if rule not in REWRITING}
    )

    def drop(self, rule: str, place: int | str, found: str, *, rows: int, captions: int, cause: str = "") -> None:
        """Count what a rule leaves out of one row: `rows` is 1 when nothing of it is left."""
        count = self.dropped[rule]
        count.rows += rows
        count.captions += captions
        if cause:
            count.causes[cause] += 1
        if count.example is None:
            count.example = f"row {place}: {cause + ': ' if cause else ''}{found[:200]}"

    def add_change(self, place: int | str, before: str, after: str) -> None:
        """Count a caption whose text was changed."""
        self.captions_changed += 1
        if self.example_change is None:
            self.example_change = f"row {place}: {before[:100]!r} -> {after[:100]!r}"

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON has it, without times, so that two equal runs write equal files."""
        return {
            "source": str(self.source),
            "output": str(self.output),
            "image_root": str(self.image_root),
            "rows": {"in": self.rows_in, "out": self.rows_out},
            "captions": {"in": self.captions_in, "out": self.captions_out, "changed": self.captions_changed},
            "example_change": self.example_change,
            "not_looked_at": dict(self.not_looked_at),
            "dropped": {
                rule: dataclasses.asdict(count) | {"causes": dict(count.causes.most_common())}
                for rule, count in self.dropped.items()
            },
            "settings": self.settings.as_dict(),
        }

    def __str__(self) -> str:
        lines = [
            f"{self.source}: kept {self.rows_out} of {self.rows_in} rows, {self.captions_out} of {self.captions_in} "
            f"captions; changed {self.captions_changed} captions",
            f"  {'left out by':<18}{'rows':>9}{'captions':>10}  first case",
        ]
        for rule, count in self.dropped.items():
            if self.settings.applies(rule):
                lines.append(f"  {rule:<18}{count.rows:>9}{count.captions:>10}  {count.example or ''}".rstrip())
        lines += describe_not_looked_at(self.not_looked_at)
        off = [rule for rule in RULES if not self.settings.applies(rule)]
        return "\n".join([*lines, f"  off: {', '.join(off)}"] if off else lines)


__all__ = ["RULES", "SWITCHES", "CleanReport", "CleanSettings", "RuleCount"]
