"""Table 2 of the paper as data, and our metrics beside it: few-shot classification of texts, with its floors."""

from collections.abc import Mapping, Sequence

from ..few_shot.floors import FLOORS
from .paper import SOURCE, TABLE_2
from .table import Kind, ResultTable, TablePart, TableRow, Value

MARK = "not comparable: these are not the paper's weights; its draws, prompts and test set are unknown"
NEAREST = "nearest: "  # how the rows of prototypes begin
CHOSEN = "penalty chosen: "  # and those of which each draw chooses the penalty
CONTROLS = ("TF-IDF", "permuted", "noise", "untrained", "chance", "most frequent")
COLUMNS = ("accuracy", "std", "draws", "95 %", "minus encoder", "95 % of it")
Rows = Mapping[str, Mapping[str, Mapping]]


def few_shot_table(
    results: Rows, floors: Mapping[str, float], *, data_set: str = "CSLDCP, 1-shot", notes: Sequence[str] = ()
) -> ResultTable:
    """Return table 2: accuracies in percent over draws, beside floors and the paired difference to the encoder alone.

    Args:
        results: group, such as a model -> method -> `summarize`, and `difference` where there is one.
        floors: name -> accuracy without any method, such as chance.
        data_set: name of the texts.
        notes: to be written below it.
    """
    rows = [TableRow("paper", model, _fill(list(values)), "paper") for model, values in TABLE_2.items()]
    rows += [TableRow("floors", name, _fill([value]), "control") for name, value in floors.items()]
    chosen: list[TableRow] = []
    for group, methods in results.items():
        for name, found in methods.items():
            if not name.startswith(NEAREST):
                part = chosen if name.startswith(CHOSEN) else rows
                part.append(TableRow(group, name, _values(found), _kind(group, name)))
    parts = [TablePart([(data_set, name) for name in COLUMNS], rows, digits=2)]
    if chosen:
        columns = [(f"{data_set}, penalty chosen on texts that are not drawn", name) for name in COLUMNS]
        parts.append(TablePart(columns, chosen, digits=2))
    if nearest := _nearest(results):
        used = [floor for floor in FLOORS if any(row.get(floor) is not None for row in nearest.values())]
        parts.append(
            TablePart(
                [("nearest prototype, nothing trained", floor) for floor in used],
                [
                    TableRow("", group, [row.get(floor) for floor in used], _kind(group))
                    for group, row in nearest.items()
                ],
                digits=2,
            )
        )
    title = "Table 2: few-shot classification of texts, accuracy (%) over draws of one text a class"
    return ResultTable(title, parts, MARK, [*notes, f"Rows of the paper: {SOURCE}, table 2."])


def colour_table(results: Rows, floors: Mapping[str, float], *, notes: Sequence[str] = ()) -> ResultTable:
    """Return the table of "dominant colour of the named thing"; arguments as in `few_shot_table`, macro accuracies."""
    columns = [("macro", name) for name in COLUMNS]
    rows = [TableRow("floors", name, _fill([value]), "control") for name, value in floors.items()]
    rows += [
        TableRow(group, name, _values(found), _kind(group, name))
        for group, methods in results.items()
        for name, found in methods.items()
    ]
    title = "Dominant colour of the named thing, macro accuracy (%) over draws of one name a colour"
    return ResultTable(title, [TablePart(columns, rows, digits=2)], None, notes)


def _values(found: Mapping) -> list[Value]:
    values: list[Value] = [found["mean"], found["std"], found["n"], _interval(found)]
    return _fill(
        values + ([found["difference"]["mean"], _interval(found["difference"])] if "difference" in found else [])
    )


def _fill(values: list[Value]) -> list[Value]:
    return values + [None] * (len(COLUMNS) - len(values))


def _interval(found: Mapping) -> str:
    low, high = found["interval"]
    return f"{low:.2f} to {high:.2f}"


def _kind(group: str, name: str = "") -> Kind:
    return "control" if any(word in f"{group} {name}" for word in CONTROLS) else "ours"


def _nearest(results: Rows) -> dict[str, dict[str, float]]:
    found = {
        group: {name.removeprefix(NEAREST): row["mean"] for name, row in methods.items() if name.startswith(NEAREST)}
        for group, methods in results.items()
    }
    return {group: row for group, row in found.items() if row}


__all__ = ["CHOSEN", "COLUMNS", "MARK", "NEAREST", "colour_table", "few_shot_table"]
