r"""Conditions on the metadata of an index, in the words of SQL, for pyarrow and for Milvus.

    path like 'more_photos/%'
    size > 1000 and not (lang = 'zh' or lang in ('en', 'de'))
    text is not null and checked = true

A column stands on the left, a literal on the right: a text in single quotes ('it''s'), a number, true or false. Columns
whose name is no word stand in double quotes. In the pattern of `like`, `%` is any text and `_` one character; `\%`,
`\_` and `\\` are the characters themselves; case counts. Null is as in SQL: a row whose column is null meets neither a
condition nor its negation, only `is null`.

sqlglot reads the text; what is not listed here is refused, and nothing is ever run.
"""

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from ..data.rows.printable import printable

if TYPE_CHECKING:
    from sqlglot import exp, tokens

MAX_LENGTH = 100_000
MAX_DEPTH = 20  # brackets in brackets; the parser takes some twenty Python frames for each
MAX_CONDITIONS = 500
EXACT_FLOAT = 2**53  # whole numbers up to here are exact in 64-bit floats
GRAMMAR = (
    "A filter is made of COLUMN = != < <= > >= LITERAL, COLUMN in (LITERAL, ...), COLUMN like 'PATTERN', COLUMN is "
    "[not] null, and, or, not, and brackets; a LITERAL is 'text' in single quotes, a number, true or false"
)

Value = str | int | float | bool
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "like", "null"]

COMPARISONS: dict[Operator, Callable[[pc.Expression, Value], pc.Expression]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Comparison:
    """A column against literals; negations stand here only, so that null is known where it counts.

    Attributes:
        column: its name.
        operator: of SQL; "null" is `is null`.
        values: one literal, any number for `in`, none for `is null`.
        negated: with `not` before it.
    """

    column: str
    operator: Operator
    values: tuple[Value, ...]
    negated: bool

    def to_arrow(self) -> pc.Expression:
        """Return an expression that is never null."""
        field = pc.field(self.column)
        if self.operator == "null":
            return field.is_valid() if self.negated else field.is_null()
        if self.operator == "in":
            met = field.isin(list(self.values))
        elif self.operator == "like":
            met = pc.match_like(field, self.values[0])
        else:
            met = COMPARISONS[self.operator](field, self.values[0])
        return field.is_valid() & (~met if self.negated else met)

    def to_milvus(self) -> str:
        """Return an expression that does not depend on how the server treats null."""
        if self.operator == "null":
            return f"{self.column} is {'not ' if self.negated else ''}null"
        literals = ", ".join(_milvus_literal(value) for value in self.values)
        if self.operator == "in":
            met = f"{self.column} in [{literals}]"
        else:
            met = f"{self.column} {'==' if self.operator == '=' else self.operator} {literals}"
        return f"({self.column} is not null and {f'not ({met})' if self.negated else met})"


@dataclass(frozen=True)
class Group:
    """Conditions joined by one word."""

    word: Literal["and", "or"]
    parts: tuple["Comparison | Group", ...]

    def to_arrow(self) -> pc.Expression:
        """Return an expression that is never null."""
        return reduce(operator.and_ if self.word == "and" else operator.or_, (part.to_arrow() for part in self.parts))

    def to_milvus(self) -> str:
        """Return the parts in one pair of brackets."""
        return f"({f' {self.word} '.join(part.to_milvus() for part in self.parts)})"


@dataclass(frozen=True)
class Filter:
    """A condition on the metadata of an index.

    >>> found = Filter.parse("lang in ('en', 'de') and not size > 1000")
    >>> sorted(found.columns)
    ['lang', 'size']
    >>> pa.table({"lang": ["en", "zh", "de"], "size": [10, 10, None]}).filter(found.to_arrow()).to_pylist()
    [{'lang': 'en', 'size': 10}]

    Attributes:
        text: what was parsed.
        condition: its meaning.
    """

    text: str
    condition: Comparison | Group

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Return the filter that a text stands for; see the head of this module.

        Raises:
            ValueError: it is no such condition, too long or too deep.
        """
        return cls(text, _Reader(text).read())

    @property
    def columns(self) -> set[str]:
        """The names of the columns that the condition looks at."""
        return {comparison.column for comparison in _comparisons(self.condition)}

    def check(self, schema: pa.Schema) -> None:
        """Raise ValueError if a column is not in a schema, or is compared with what it cannot hold."""
        for comparison in _comparisons(self.condition):
            name = comparison.column
            if name not in schema.names:
                nearest = difflib.get_close_matches(name, schema.names, n=1, cutoff=0.4)
                hint = f"did you mean {nearest[0]!r}? " if nearest else ""
                _refuse(
                    self.text, f"there is no column {name!r}; {hint}Columns: {', '.join(schema.names)}", grammar=False
                )
            for value in comparison.values:
                if problem := _mismatch(schema.field(name).type, comparison.operator, value):
                    _refuse(self.text, f"column {name!r} {problem}", grammar=False)

    def to_arrow(self) -> pc.Expression:
        """Return the condition for `pa.Table.filter`; it is false, never null, where SQL's answer is null."""
        return self.condition.to_arrow()

    def to_milvus(self) -> str:
        """Return the condition in the language of Milvus, with the same answer for every row.

        Raises:
            ValueError: Milvus does not take the name of a column.
        """
        for name in sorted(self.columns):
            check_milvus_name(name)
        return self.condition.to_milvus()


def check_milvus_name(name: str) -> None:
    """Raise ValueError unless Milvus takes a text as the name of a field."""
    reserved = {"and", "or", "not", "in", "like", "is", "null", "exists", "true", "false", "iso", "interval", "escape"}
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,254}", name) or name.lower() in reserved:
        raise ValueError(
            f"Milvus takes no column of the name {name!r}; rename it: letters of English, digits, underscores."
        )


class _Reader:
    """sqlglot's tree to ours."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> Comparison | Group:
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        if len(self.text) > MAX_LENGTH:
            _refuse(self.text, f"it has {len(self.text):,} characters, more than {MAX_LENGTH:,}", grammar=False)
        if self.text != self.text.encode("utf-8", "replace").decode():
            _refuse(self.text, "it is no valid Unicode", grammar=False)
        try:
            self.check_size(sqlglot.tokenize(self.text))
            return self.condition(sqlglot.parse_one(self.text, into=exp.Condition), negated=False)
        except SqlglotError:
            _refuse(self.text, "it cannot be read")
        except RecursionError:
            self.refuse_depth()

    def refuse_depth(self) -> NoReturn:
        _refuse(self.text, f"it is nested more than {MAX_DEPTH} deep", grammar=False)

    def check_size(self, found: "list[tokens.Token]") -> None:
        from sqlglot.tokens import TokenType as kinds

        depth = signs = conditions = 0
        for token in found:
            depth += (token.token_type == kinds.L_PAREN) - (token.token_type == kinds.R_PAREN)
            signs = signs + 1 if token.token_type in (kinds.NOT, kinds.DASH) else 0
            if depth + signs > MAX_DEPTH:
                self.refuse_depth()
            conditions += token.token_type in (kinds.AND, kinds.OR)
        if conditions >= MAX_CONDITIONS:
            _refuse(
                self.text, f"it has more than {MAX_CONDITIONS} conditions; `in (...)` takes many values", grammar=False
            )

    def condition(self, node: "exp.Expr", *, negated: bool) -> Comparison | Group:
        from sqlglot import exp

        match node:
            case exp.Paren():
                return self.condition(self.only(node, "this").this, negated=negated)
            case exp.Not():
                return self.condition(self.only(node, "this").this, negated=not negated)
            case exp.And() | exp.Or():
                parts = tuple(self.condition(part, negated=negated) for part in node.flatten(unnest=False))
                return Group("and" if isinstance(node, exp.And) is not negated else "or", parts)
            case exp.Is(expression=exp.Null()):
                return Comparison(self.column(self.only(node, "this", "expression").this), "null", (), negated)
            case exp.In(expressions=[_, *_]):
                values = [self.literal(value) for value in self.only(node, "this", "expressions").expressions]
                return Comparison(self.column(node.this), "in", tuple(values), negated)
            case exp.Like():
                self.only(node, "this", "expression", "negate")
                negated = negated is not bool(node.args.get("negate"))
                return Comparison(self.column(node.this), "like", (self.pattern(node.expression),), negated)
        words: dict[type, Operator] = {
            exp.EQ: "=",
            exp.NEQ: "!=",
            exp.LT: "<",
            exp.LTE: "<=",
            exp.GT: ">",
            exp.GTE: ">=",
        }
        if word := words.get(type(node)):
            value = self.literal(self.only(node, "this", "expression").expression)
            return Comparison(self.column(node.this), word, (value,), negated)
        self.refuse(node)

    def column(self, node: "exp.Expr") -> str:
        from sqlglot import exp

        match node:
            case exp.Column(this=exp.Identifier()):
                return self.only(node, "this").name
        self.refuse(node, " where a column is expected")

    def pattern(self, node: "exp.Expr") -> str:
        from sqlglot import exp

        value = str(node.this)
        if not isinstance(node, exp.Literal) or not node.is_string:
            self.refuse(node, " where a pattern 'text%' is expected")
        if not re.fullmatch(r"(?s:[^\\]|\\[%_\\])*", value):
            self.refuse(node, r": in a pattern \ stands before %, _ or \ only")
        return value

    def literal(self, node: "exp.Expr") -> Value:
        from sqlglot import exp

        match node:
            case exp.Boolean():
                return bool(node.this)
            case exp.Literal(is_string=True):
                return str(node.this)
            case exp.Neg(this=exp.Literal(is_string=False)):
                return -self.number(node.this)
            case exp.Literal():
                return self.number(node)
            case exp.Null():
                self.refuse(node, " where a literal is expected; null is tested with `is null`")
        self.refuse(node, " where a literal is expected")

    def number(self, node: "exp.Expr") -> int | float:
        """Whole numbers as such, also 1e6: columns of whole numbers are compared with nothing else."""
        if re.fullmatch("[0-9]{1,30}", node.this):
            value = int(node.this)
            if value < 2**63:
                return value
            self.refuse(node, ", a number beyond 64 bits")
        if not re.fullmatch(r"[0-9]*\.?[0-9]*([eE][+-]?[0-9]+)?", node.this):
            self.refuse(node, " where a number is expected")
        decimal = float(node.this)
        if not math.isfinite(decimal):
            self.refuse(node, ", a number beyond 64 bits")
        return int(decimal) if decimal.is_integer() and decimal <= EXACT_FLOAT else decimal

    def only(self, node: "exp.Expr", *names: str) -> "exp.Expr":
        """Return the node; raise ValueError if it has more to it than these parts."""
        if any(value for name, value in node.args.items() if name not in names):
            self.refuse(node)
        return node

    def refuse(self, node: "exp.Expr", where: str = "") -> NoReturn:
        _refuse(self.text, f"`{node.sql(comments=False, identify=False)[:80]}` is not understood{where}")


def _comparisons(condition: Comparison | Group) -> Iterator[Comparison]:
    if isinstance(condition, Comparison):
        yield condition
    else:
        for part in condition.parts:
            yield from _comparisons(part)


def _mismatch(column: pa.DataType, word: Operator, value: Value) -> str:
    """Return why a column cannot be compared so, "" if it can."""
    if pa.types.is_string(column) or pa.types.is_large_string(column):
        return "" if isinstance(value, str) else f"holds text and is compared with {value}; write '{value}'"
    if word == "like":
        return f"holds {column}; `like` is for text"
    if pa.types.is_boolean(column):
        if not isinstance(value, bool):
            return f"is true or false and is compared with {value!r}"
        return "" if word in ("=", "!=", "in") else f"is true or false and has no order, so no `{word}`"
    if not (pa.types.is_integer(column) or pa.types.is_floating(column)):
        return f"holds {column}, which filters do not compare"
    if isinstance(value, str | bool):
        return f"holds numbers ({column}) and is compared with {value!r}"
    if pa.types.is_integer(column) and isinstance(value, float):
        return f"holds whole numbers and is compared with {value}; give a whole number"
    if pa.types.is_floating(column) and isinstance(value, int) and abs(value) > EXACT_FLOAT:
        return f"holds 64-bit floats, which are not exact at {value}"
    return ""


def _milvus_literal(value: Value) -> str:
    if isinstance(value, str):
        escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
        return '"' + "".join(escapes.get(character, character) for character in value) + '"'
    return json.dumps(value)


def _refuse(text: str, problem: str, *, grammar: bool = True) -> NoReturn:
    short = text if len(text) <= 100 else text[:97] + "..."
    raise ValueError(printable(f"Filter {short!r}: {problem}. {GRAMMAR + '.' if grammar else ''}").rstrip())


__all__ = ["Comparison", "Filter", "Group", "check_milvus_name"]
