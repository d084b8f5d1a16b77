"""Report on pairs before a model is trained on them: numbers, and problems that harm contrastive training.

A loss that does not fall is more often the fault of the pairs than of the model: captions that many images share,
captions that are cut off, a tokenizer of another language.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..files.json_files import write_json
from ..rows.report import describe_not_looked_at


@dataclass
class PairReport:
    """Numbers about pairs; `str()` makes lines of them, `save` a file. Fractions are of the pairs counted.

    Attributes:
        is_sample: there are more, which were not counted.
        bad_rows: rows left out while reading, by cause; `repairs`: changes to rows that were kept, by cause.
        examples: the first of each cause.
        other_splits: rows that were not read, by their split.
        not_looked_at: what a folder holds beside the rows, such as images that no row names.
        bad_fraction: fraction of the rows read that were left out.
        duplicate_images: pairs whose image, byte for byte, an earlier pair has.
        duplicate_captions: pairs whose caption, apart from case and white space, an earlier pair has.
        most_common_captions: with the number of their pairs.
        characters, tokens, short_sides: minimum, median, 95 % and maximum: of captions, with special tokens, and of
            images in pixels. `tokens` is empty without a tokenizer.
        max_tokens: where captions are cut.
        cut_fraction: captions that are longer.
        unknown_fraction: fraction of [UNK] among the tokens; `unknown_text_fraction`: captions that hold one.
        vocabulary_warnings: those of the warnings that speak of the tokenizer.
        scripts: fraction of the captions by their main script.
        language: that the captions were expected in.
        other_language_fraction: captions in no script of it; those without letters are not among them.
        warnings: what is likely to go wrong, and what to do, in the order of importance.
    """

    source: str
    pairs: int = 0
    is_sample: bool = False
    bad_rows: dict[str, int] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    other_splits: dict[str, int] = field(default_factory=dict)
    not_looked_at: dict[str, int] = field(default_factory=dict)
    bad_fraction: float = 0.0
    duplicate_images: int = 0
    duplicate_captions: int = 0
    most_common_captions: list[tuple[str, int]] = field(default_factory=list)
    characters: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    max_tokens: int | None = None
    cut_fraction: float | None = None
    unknown_fraction: float | None = None
    unknown_text_fraction: float | None = None
    vocabulary_warnings: list[str] = field(default_factory=list)
    scripts: dict[str, float] = field(default_factory=dict)
    language: str = "zh"
    other_language_fraction: float = 0.0
    short_sides: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sample = f" (the first {self.pairs:,}; there are more)" if self.is_sample else ""
        lines = [f"{self.source}: {self.pairs:,} pairs{sample}"]
        for title, counts in (("left out", self.bad_rows), ("repaired", self.repairs)):
            lines += [f"  {title}: {n:,} x {cause}. First: {self.examples[cause]}" for cause, n in counts.items()]
        if self.other_splits:
            others = ", ".join(f"{name} {count:,}" for name, count in self.other_splits.items())
            lines.append(f"  rows of other splits, which are not read: {others}")
        lines += describe_not_looked_at(self.not_looked_at)
        lines.append(f"  duplicates: {self.duplicate_captions:,} captions, {self.duplicate_images:,} images")
        most_common = ", ".join(f"{caption[:40]!r} {count:,} x" for caption, count in self.most_common_captions)
        lines += [f"  most common captions: {most_common}"] if most_common else []
        lines.append(f"  caption length in characters: {_show(self.characters)}")
        if self.tokens:
            rates = f"{self.cut_fraction:.1%} cut at {self.max_tokens}, {self.unknown_fraction:.2%} unknown"
            rates += f" (in {self.unknown_text_fraction:.1%} of the captions)" if self.unknown_fraction else ""
            lines.append(f"  caption length in tokens: {_show(self.tokens)}; {rates}")
        lines.append(f"  scripts: {', '.join(f'{script} {fraction:.1%}' for script, fraction in self.scripts.items())}")
        lines.append(f"  short side of images in pixels: {_show(self.short_sides)}")
        return "\n".join(lines + [f"  WARNING: {warning}" for warning in self.warnings])

    def save(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        write_json(path, asdict(self))


def _show(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items()) or "none"


__all__ = ["PairReport"]
