import random
import re

import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusClient
from wenlan.retrieval.filters import MAX_CONDITIONS, MAX_DEPTH, Filter

TEXTS = [
    "zh",
    "en",
    "it's",
    "a_b%c",
    "a\\b",
    '"',
    "猫咪.png",
    "photos/2024/猫.png",
    "photos/a.jpg",
    "two\nlines\t",
    "",
    None,
]
COLUMNS = {
    "key": list(range(120)),
    "path": [TEXTS[n % 12] for n in range(120)],
    "size": [None if n % 7 == 3 else (n * n) % 50 - 10 for n in range(120)],
    "score": [None if n % 5 == 1 else n / 8 - 3 for n in range(120)],
    "checked": [(True, False, None)[n % 3] for n in range(120)],
}
ROWS = pa.table(COLUMNS)
FAULTS = {
    "": "cannot be read",
    "size >": "cannot be read",
    "path = 'open": "cannot be read",
    "size = 1; size = 2": "not understood",
    "select 1": "cannot be read",
    "size in (select 1)": "not understood",
    "size in ()": "not understood",
    "__import__('os').getcwd() = 'a'": "where a column is expected",
    "size + 1 = 2": "where a column is expected",
    "5 < size": "where a literal is expected",
    "size = score": "where a literal is expected",
    'path = "zh"': '`"zh"` is not understood where a literal is expected',
    "size = null": "tested with `is null`",
    "checked": "not understood",
    "checked is true": "not understood",
    "t.size = 1": "not understood",
    "size between 1 and 2": "not understood",
    "path ilike 'a'": "not understood",
    "path like 'a' escape '!'": "not understood",
    "path like 5": "where a pattern",
    r"path like 'a\b'": "stands before",
    "path like 'a\\": "cannot be read",
    "path = 'a' 'b'": "not understood",
    "size = 99999999999999999999": "beyond 64 bits",
    "size = 1e999": "beyond 64 bits",
    "size = - - 1": "where a literal is expected",
    "path = '\udcff'": "no valid Unicode",
    "path = '" + "a" * 100_000 + "'": "characters, more than",
    "(" * 5_000 + "size = 1" + ")" * 5_000: f"nested more than {MAX_DEPTH} deep",
    "not " * 5_000 + "size = 1": f"nested more than {MAX_DEPTH} deep",
    "case when " * 5_000 + "1": "nested more than",
    " or ".join(["size = 1"] * (MAX_CONDITIONS + 1)): "`in (...)` takes many values",
}
MISMATCHES = {
    "sise > 1": r"there is no column 'sise'; did you mean 'size'\? Columns: key, path",
    "zzzzzzzz = 1": r"there is no column 'zzzzzzzz'; Columns: key, path",
    "path = 5": "'path' holds text and is compared with 5; write '5'",
    "size = '5'": r"'size' holds numbers \(int64\) and is compared with '5'",
    "size = true": "compared with True",
    "size > 1.5": "give a whole number",
    "size in (1, 'a')": "compared with 'a'",
    "size like '1%'": "`like` is for text",
    "score > 9007199254740993": "not exact",
    "checked = 1": "'checked' is true or false and is compared with 1",
    "checked > false": "has no order",
    "words = 'a'": "which filters do not compare",
}


def like(pattern, text):
    """Naive `like`: the regular expression that it stands for."""
    parts = re.findall(r"(?s)\\.|.", pattern)
    wild = {"%": "(?s:.*)", "_": "(?s:.)"}
    return re.fullmatch("".join(wild.get(part) or re.escape(part[-1]) for part in parts), text) is not None


def draw_comparison(rng):
    """Returns the text of a condition, and its value for a row: True, False or None."""
    column = rng.choice(["path", "size", "score", "checked"])
    values = {
        "path": [text for text in TEXTS if text is not None] + ["absent", "b"],
        "size": [-10, -1, 0, 5, 26, 99],
        "score": [-3.0, 0.125, 0.5, 2, 1e300],
        "checked": [True, False],
    }[column]

    def literal(value):
        return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()

    kind = rng.choice(["compare", "in", "null", *(["like"] * 2 if column == "path" else [])])
    if kind == "null":
        word = rng.choice(["is null", "is not null"])
        return f"{column} {word}", lambda row: (row[column] is None) is (word == "is null")
    negated = kind in ("in", "like") and rng.random() < 0.4
    if kind == "in":
        chosen = rng.sample(values, rng.randint(1, 2))
        text, meets = f"in ({', '.join(map(literal, chosen))})", lambda value: value in chosen
    elif kind == "like":
        pieces = ["%", "%", "_", "a", "b", "\\_", "\\%", "\\\\", "猫", ".png", "photos/", '"', "\n"]
        pattern = "".join(rng.choices(pieces, k=rng.randint(0, 4)))
        text, meets = f"like {literal(pattern)}", lambda value: like(pattern, value)
    else:
        operators = {
            "=": lambda a, b: a == b,
            "!=": lambda a, b: a != b,
            "<": lambda a, b: a < b,
            "<=": lambda a, b: a <= b,
            ">": lambda a, b: a > b,
            ">=": lambda a, b: a >= b,
        }
        word, other = rng.choice(list(operators)[: 2 if column == "checked" else 6]), rng.choice(values)
        text, meets = f"{word} {literal(other)}", lambda value: operators[word](value, other)
    return (
        f"{column} {'not ' if negated else ''}{text}",
        lambda row: None if row[column] is None else meets(row[column]) is not negated,
    )


def draw_condition(rng, depth):
    """Three-valued logic of SQL, written out."""
    kind = rng.choice(["and", "or", "not", "leaf"]) if depth else "leaf"
    if kind == "leaf":
        return draw_comparison(rng)
    one, one_value = draw_condition(rng, depth - 1)
    if kind == "not":
        return f"not ({one})", lambda row: None if one_value(row) is None else not one_value(row)
    two, two_value = draw_condition(rng, depth - 1)
    decides = kind == "or"

    def value(row):
        found = (one_value(row), two_value(row))
        return decides if decides in found else None if None in found else not decides

    return f"({one}) {kind} ({two})", value


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Returns a function from an expression of Milvus to the keys that milvus-lite finds by it."""
    client = MilvusClient(str(tmp_path_factory.mktemp("milvus") / "filters.db"))
    schema = client.create_schema()
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("path", DataType.VARCHAR, max_length=100, nullable=True)
    for name, kind in (("size", DataType.INT64), ("score", DataType.DOUBLE), ("checked", DataType.BOOL)):
        schema.add_field(name, kind, nullable=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=2)
    params = client.prepare_index_params()
    params.add_index("embedding", index_type="FLAT", metric_type="IP")
    client.create_collection("rows", schema=schema, index_params=params)
    client.upsert("rows", [row | {"embedding": [0.0, 1.0]} for row in ROWS.to_pylist()])
    yield lambda expression: sorted(
        row["key"] for row in client.query("rows", expression, output_fields=["key"], consistency_level="Strong")
    )
    client.close()


@pytest.mark.parametrize("seed", range(4))
def test_arrow_milvus_and_three_valued_logic_find_the_same_rows(collection, seed):
    rng, found_some = random.Random(seed), 0
    for _ in range(40):
        text, value = draw_condition(rng, depth=3)
        expected = [row["key"] for row in ROWS.to_pylist() if value(row) is True]
        found = Filter.parse(text)
        found.check(ROWS.schema)
        assert ROWS.filter(found.to_arrow())["key"].to_pylist() == expected, text
        assert collection(found.to_milvus()) == expected, text
        found_some += 0 < len(expected) < len(ROWS)
    assert found_some > 20


@pytest.mark.parametrize("text", FAULTS, ids=lambda text: text[:30].encode("ascii", "replace").decode())
def test_what_is_no_filter_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=re.escape(FAULTS[text])) as error:
        Filter.parse(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("text", MISMATCHES)
def test_columns_that_cannot_be_compared_so_are_refused(text):
    schema = pa.schema([*ROWS.schema, pa.field("words", pa.list_(pa.string()))])
    with pytest.raises(ValueError, match=MISMATCHES[text]):
        Filter.parse(text).check(schema)


@pytest.mark.parametrize(
    "text", ["size = -5", "size = 1e6", "score < .5", "path in ('a', 'b')", "key > 1 and key <> 4"]
)
def test_columns_and_literals_that_fit_pass(text):
    Filter.parse(text).check(ROWS.schema)


def test_columns_are_those_of_the_condition():
    assert Filter.parse("not (size > 1 or path like 'a%') and text is null").columns == {"size", "path", "text"}
    assert Filter.parse('"lens model" = 1 and 名字 = 1').columns == {"lens model", "名字"}


def test_name_that_milvus_does_not_take_is_refused():
    for text in ('"lens model" = 1', "名字 = 1", '"null" = 1', '"a or 1 == 1" = 1'):
        with pytest.raises(ValueError, match="Milvus takes no column of the name"):
            Filter.parse(text).to_milvus()


def test_as_many_conditions_and_brackets_as_the_limits_say_are_read():
    text = "(" * MAX_DEPTH + " or ".join(["size = 1"] * MAX_CONDITIONS) + ")" * MAX_DEPTH
    assert ROWS.filter(Filter.parse(text).to_arrow()).num_rows == COLUMNS["size"].count(1)


def test_parsing_twice_gives_equal_filters():
    assert Filter.parse("size = 1") == Filter.parse("size = 1") != Filter.parse("size = 2")
    assert len({Filter.parse("size = 1"), Filter.parse("size = 1")}) == 1
