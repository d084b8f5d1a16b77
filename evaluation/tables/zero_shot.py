"""Table 1 of the paper with rows of ours: zero-shot classification, beside chance and permuted names."""

from collections.abc import Mapping, Sequence

from .paper import OURS, SOURCE, TABLE_1, TABLE_1_COLUMNS
from .table import ResultTable, TablePart, TableRow, Value

NOT_COMPARABLE = "not comparable: these are not the paper's weights and its 200 classes, which were never published"
# of `classification_metrics` -> heading
METRICS = {
    "top_1": "top-1",
    "top_1_interval": "top-1 95 %",
    "top_5": "top-5",
    "top_5_interval": "top-5 95 %",
    "macro_top_1": "macro top-1",
    "permuted_top_1": "permuted top-1",
    "chance_top_1": "chance top-1",
    "chance_top_5": "chance top-5",
    "n": "images",
}


def zero_shot_table(
    results: Mapping[str, Mapping], *, comparable: bool = False, notes: Sequence[str] = ()
) -> ResultTable:
    """Return table 1: accuracies in percent; the paper's rows, and below a row of ours for each language and template.

    Args:
        results: data set -> the facts of `evaluate_zero_shot`.
        comparable: data and weights are the paper's; the best row of ours then stands among the paper's, too.
        notes: to be written below it.
    """
    rows = [
        TableRow(
            name, f"{language}, {kind}", [*map(_value, METRICS, [metrics] * len(METRICS)), facts["classes"]], "ours"
        )
        for name, facts in results.items()
        for language, of_language in facts["languages"].items()
        for kind, metrics in of_language.items()
        if isinstance(metrics, Mapping) and "top_1" in metrics
    ]
    paper = [TableRow("", model, values, "paper") for model, values in TABLE_1.items()]
    if comparable:
        paper += [
            TableRow("", f"{OURS}, {row.group}, {row.name}", [row.values[0], row.values[2]], "ours") for row in rows
        ]
    columns = [(name, what) for name, kinds in TABLE_1_COLUMNS.items() for what in kinds]
    headings = [("", heading) for heading in (*METRICS.values(), "classes")]
    title = "Table 1: zero-shot classification, accuracy (%)"
    below = ["permuted: each class has the name of another, so that nothing but chance is left."]
    below += [
        f"{name}, {language}: {shared} of {facts['classes']} classes share a name and cannot be told apart; the first "
        "with a name wins."
        for name, facts in results.items()
        for language, of_language in facts["languages"].items()
        if (shared := of_language.get("classes_sharing_a_name"))
    ]
    below += [f"Rows of {', '.join(TABLE_1)}: {SOURCE}, table 1; CLIP with English names."]
    return ResultTable(
        title,
        [TablePart(columns, paper), TablePart(headings, rows)],
        None if comparable else NOT_COMPARABLE,
        [*notes, *below],
    )


def _value(key: str, metrics: Mapping) -> Value:
    value = metrics.get(key)
    return "{:.1f}–{:.1f}".format(*value) if isinstance(value, list) else value


__all__ = ["METRICS", "NOT_COMPARABLE", "zero_shot_table"]
