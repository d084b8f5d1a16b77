"""The tables of the paper as data, and our metrics of tables 3 and 4 beside them.

A metric of ours stands with its chance or its control. It is never comparable with the paper's by itself: the weights
of MLMM were never published.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from .table import Kind, ResultTable, TablePart, TableRow, Value

SOURCE = "WuDao-WenLan: What Do Very-Large Multimodal Pre-Training Models Bring?"
NOT_COMPARABLE = "not comparable: these are not the paper's data and weights; its weights were never published"
OURS = "wenlan"
Setting = Literal["en", "each", "all"]
GROUPS: dict[Setting, str] = {"en": "En", "each": "Each", "all": "All"}  # its name in table 3

TABLE_1_COLUMNS = {"ImageNet-200": ("top-1", "top-5")}
# model -> accuracy in percent, zero-shot
TABLE_1 = {"CLIP": (82.5, 95.2), "BriVL 1.0": (69.6, 88.9), "BriVL 2.0": (85.0, 96.0)}
TABLE_2_COLUMNS = {"CSLDCP, 1-shot": ("accuracy",)}
# model -> accuracy in percent; the second was trained further on the texts of BriVL 1.0
TABLE_2 = {
    "RoBERTa-base": (33.63,),
    "RoBERTa-base, further trained": (33.40,),
    "BriVL 1.0": (35.59,),
    "RoBERTa-large": (38.24,),
    "BriVL 2.0": (46.47,),
}
# test set -> languages
TABLE_3_COLUMNS = {"Multi30K": ("en", "de", "fr", "cs"), "MSCOCO": ("en", "zh", "ja")}
# setting -> model -> mean recall in percent. The labels of the settings are displaced by a row in the paper's text.
TABLE_3: dict[Setting, dict[str, tuple[float, ...]]] = {
    "en": {
        "M3P": (87.4, 58.8, 46.0, 36.8, 88.6, 53.8, 56.0),
        "UC2": (87.2, 74.9, 74.0, 67.9, 88.1, 82.0, 71.7),
        "MLMM": (91.9, 86.7, 86.9, 85.6, 90.6, 90.3, 86.6),
    },
    "each": {
        "M3P": (87.4, 82.1, 67.3, 65.0, 88.6, 75.8, 80.1),
        "UC2": (87.2, 83.8, 77.6, 74.2, 88.1, 84.9, 87.3),
        "MLMM": (91.9, 88.1, 85.3, 83.8, 90.6, 89.0, 90.9),
    },
    "all": {
        "M3P": (87.7, 82.7, 73.9, 72.2, 88.7, 87.9, 86.2),
        "UC2": (88.2, 84.5, 83.9, 81.2, 88.1, 89.8, 87.5),
        "MLMM": (92.0, 88.7, 88.2, 87.4, 90.8, 92.4, 91.2),
    },
}
TABLE_4_COLUMNS = {"VQA 2.0 test-dev": ("en",), "VQA VG Japanese": ("ja",)}
# model -> accuracy in percent
TABLE_4 = {"UNITER": (71.22, 22.70), "UC2": (71.48, 34.20), "MLMM": (73.21, 35.40)}

# of `vqa_metrics` -> heading
VQA_COLUMNS = {
    "count": "questions",
    "accuracy": "accuracy",
    "interval": "95 %",
    "accuracy_without_nfkc": "without NFKC",
    "question_only": "question only",
    "majority": "majority",
    "oracle_accuracy": "oracle",
}
VQA_GROUPS = {"answer_types": "answer type", "question_types": "question type"}


def retrieval_table(
    results: Mapping[str, Mapping[Setting, Mapping]], *, comparable: bool = False, notes: Sequence[str] = ()
) -> ResultTable:
    """Return table 3: mean recalls in percent, chance and the control without regions below each of ours.

    A test set that is named as one of the paper's stands in the paper's columns, others in a part of their own.

    Args:
        results: test set -> setting ("en", "each", "all") -> what `finetune_retrieval` writes to `metrics.json`.
        comparable: data and weights are the paper's.
        notes: to be written below it.

    Raises:
        ValueError: an unknown setting.
    """
    for test_set, settings in results.items():
        if unknown := settings.keys() - GROUPS.keys():
            raise ValueError(f"{test_set} has results of {', '.join(sorted(unknown))}; give {', '.join(GROUPS)}.")
    columns, lacking = [], []
    for test_set, languages in TABLE_3_COLUMNS.items():
        ours = _languages(results.get(test_set, {}))
        columns += [(test_set, language) for language in dict.fromkeys([*languages, *ours])]
        if ours and (missing := [language for language in languages if language not in ours]):
            lacking.append(f"{test_set}: no metrics of ours in {', '.join(missing)}.")
    rows: list[TableRow] = []
    for setting, models in TABLE_3.items():
        for model, metrics in models.items():
            paper = dict(zip(_pairs(TABLE_3_COLUMNS), metrics, strict=True))
            rows.append(TableRow(GROUPS[setting], model, [paper.get(column) for column in columns], "paper"))
        rows += _recalls(results, setting, columns)
    parts = [TablePart(columns, rows)]
    for test_set, settings in results.items():
        if test_set not in TABLE_3_COLUMNS:
            columns = [(test_set, language) for language in _languages(settings)]
            rows = [row for setting in GROUPS for row in _recalls(results, setting, columns)]
            parts.append(TablePart(columns, rows))
    title = "Table 3: retrieval, mean of R@1, 5, 10 in both directions (%), tuned on English, on each language, on all"
    return ResultTable(title, parts, None if comparable else NOT_COMPARABLE, [*notes, *lacking, *_source(3)])


def vqa_table(
    results: Mapping[str, Mapping[str, Mapping]], *, comparable: bool = False, notes: Sequence[str] = ()
) -> ResultTable:
    """Return table 4: accuracies in percent, ours by kind of question and beside question-only model and majority.

    Args:
        results: test set -> language -> what `vqa_metrics` gives. A set that is named as one of the paper's stands in
            the paper's columns, too.
        comparable: data and weights are the paper's.
        notes: to be written below it.
    """
    columns = _pairs(TABLE_4_COLUMNS)
    rows = [TableRow("", model, values, "paper") for model, values in TABLE_4.items()]
    found = [results.get(test_set, {}).get(language, {}) for test_set, language in columns]
    if any(found):
        for key, name in {"accuracy": OURS, "question_only": "question only", "majority": "majority"}.items():
            values = [metrics.get(key) for metrics in found]
            if any(value is not None for value in values):
                rows.append(TableRow("", name, values, "ours" if name == OURS else "control"))
    parts = [TablePart(columns, rows, digits=2)]
    for test_set, languages in results.items():
        parts += [_questions(f"{test_set}, {language}", metrics) for language, metrics in languages.items()]
    title = "Table 4: visual question answering, accuracy (%)"
    single = any("accuracy_without_nfkc" in row for languages in results.values() for row in languages.values())
    rule = ["Questions with one answer: equal in compatibility form (NFKC); the paper does not say its rule."]
    return ResultTable(
        title, parts, None if comparable else NOT_COMPARABLE, [*notes, *(rule if single else []), *_source(4)]
    )


def paper_reference(table: int) -> dict[str, object]:
    """Return the paper's metrics of a table as JSON can hold them, with their source."""
    columns_of: dict[int, Mapping[str, Sequence[str]]]
    columns_of = {1: TABLE_1_COLUMNS, 2: TABLE_2_COLUMNS, 3: TABLE_3_COLUMNS, 4: TABLE_4_COLUMNS}
    metrics: dict[str, object]
    if table == 3:
        metrics = {setting: {model: list(row) for model, row in models.items()} for setting, models in TABLE_3.items()}
    else:
        rows: dict[int, Mapping[str, Sequence[float]]] = {1: TABLE_1, 2: TABLE_2, 4: TABLE_4}
        metrics = {model: list(row) for model, row in rows[table].items()}
    return {
        "source": f"{SOURCE}, table {table}",
        "columns": [list(column) for column in _pairs(columns_of[table])],
        "metrics": metrics,
    }


def _recalls(
    results: Mapping[str, Mapping[Setting, Mapping]], setting: Setting, columns: Sequence[tuple[str, str]]
) -> list[TableRow]:
    """Return the row of ours, its interval, and its two controls; none without a metric."""

    def row(name: str, table: str, metric: str, kind: Kind) -> TableRow:
        values: list[Value] = []
        for test_set, language in columns:
            value = results.get(test_set, {}).get(setting, {}).get(table, {}).get(language, {}).get(metric)
            values.append("{:.1f}–{:.1f}".format(*value) if isinstance(value, list) else value)
        return TableRow(GROUPS[setting], name, values, kind)

    rows = [
        row(OURS, "recalls", "mean_recall", "ours"),
        row("95 %", "recalls", "interval", "control"),
        row("regions zeroed", "without_regions", "mean_recall", "control"),
        row("chance", "recalls", "chance_mean_recall", "control"),
    ]
    return [row for row in rows if any(value is not None for value in row.values)]


def _questions(heading: str, metrics: Mapping) -> TablePart:
    """Return all questions, then those of each kind."""
    chosen = {key: name for key, name in VQA_COLUMNS.items() if key in metrics}

    def values(row: Mapping) -> list[Value]:
        shown = dict(row) | ({"interval": "{:.1f}–{:.1f}".format(*row["interval"])} if "interval" in row else {})
        return [shown.get(key) for key in chosen]

    rows = [TableRow("all", "all questions", values(metrics), "ours")]
    for table, group in VQA_GROUPS.items():
        rows += [TableRow(group, kind, values(row), "ours") for kind, row in metrics.get(table, {}).items()]
    return TablePart([(heading, name) for name in chosen.values()], rows)


def _languages(settings: Mapping[Setting, Mapping]) -> list[str]:
    """Return languages in which there are metrics of any setting, in the order of the first."""
    return list(dict.fromkeys(language for metrics in settings.values() for language in metrics["recalls"]))


def _pairs(columns: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(test_set, language) for test_set, languages in columns.items() for language in languages]


def _source(table: int) -> list[str]:
    models = TABLE_3["en"] if table == 3 else TABLE_4
    return [f"Rows of {', '.join(models)}: {SOURCE}, table {table}."]


__all__ = [
    "GROUPS",
    "NOT_COMPARABLE",
    "SOURCE",
    "TABLE_1",
    "TABLE_1_COLUMNS",
    "TABLE_2",
    "TABLE_2_COLUMNS",
    "TABLE_3",
    "TABLE_3_COLUMNS",
    "TABLE_4",
    "TABLE_4_COLUMNS",
    "Setting",
    "paper_reference",
    "retrieval_table",
    "vqa_table",
]
