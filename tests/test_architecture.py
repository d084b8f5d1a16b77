"""The arrows between the rooms point down, as the floors of the house say; read from the source with `ast`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = {"modeling_brivl", "modeling_mlmm", "processing", "data"}
FIRST = {"evaluation", "retrieval", "analysis"}
SECOND = {"serving", "training_scripts"}
# room -> rooms it may import
ALLOWED = (
    {room: set() for room in GROUND}
    | {room: GROUND for room in FIRST}
    | {room: GROUND | FIRST for room in SECOND}
    | {"wenlan": GROUND | FIRST | SECOND}
)
PRESENT = sorted(room for room in ALLOWED if (ROOT / room).is_dir())
SOURCES = sorted(path for room in PRESENT for pattern in ("*.py", "*.pyi") for path in (ROOT / room).rglob(pattern))
# auto_registration acts at import and offers nothing
NOT_PUBLIC = ("__init__.py", "__main__.py", "auto_registration.py")
MODULES = [path for path in SOURCES if path.suffix == ".py" and path.name not in NOT_PUBLIC]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def package_of(path):
    """Returns the parts of the package that holds a file: data/pairs.py is in ("wenlan", "data")."""
    parts = path.relative_to(ROOT).parent.parts
    return parts if parts[0] == "wenlan" else ("wenlan", *parts)


def imports_of(path):
    """Yields (line, level, absolute module name) for every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            base = package[: len(package) + 1 - node.level] if node.level else ()
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield node.lineno, node.level, ".".join((*base, name))


def rooms_imported(path):
    """Yields (line, room) for every import of the package; its own top level is the room "wenlan"."""
    for line, _, module in imports_of(path):
        first, *rest = module.split(".")
        if first == "wenlan":
            yield line, rest[0] if rest and rest[0] in ALLOWED else "wenlan"


def all_names(path):
    """Returns the names in `__all__` of a module, or None without it, and whether it is the last statement."""
    body = ast.parse(path.read_text("utf-8")).body
    for index, node in enumerate(body):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value), index == len(body) - 1
    return None, False


def defined_names(path):
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return names


def test_known_rooms_are_found():
    assert {"modeling_brivl", "processing", "data", "wenlan"} <= set(PRESENT)
    assert len(MODULES) > 20


@pytest.mark.parametrize("room", PRESENT)
def test_room_imports_only_the_floors_below(room):
    allowed = ALLOWED[room] | {room}
    wrong = [
        f"{relative(path)}:{line} imports {imported}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == room
        for line, imported in rooms_imported(path)
        if imported not in allowed
    ]
    assert wrong == []


def test_imports_inside_the_package_are_relative():
    absolute = [
        f"{relative(path)}:{line} imports {module}"
        for path in SOURCES
        for line, level, module in imports_of(path)
        if level == 0 and module.split(".")[0] in {"wenlan", *ALLOWED}
    ]
    assert absolute == []


@pytest.mark.parametrize("room", ["modeling_brivl", "modeling_mlmm", "processing", "processing/regions"])
def test_room_of_published_classes_does_not_import_upwards(room):
    """The Hub's collector of remote code follows only `from .module import name`."""
    wrong = [
        f"{relative(path)}:{line}"
        for path in (ROOT / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.level > 1 or (node.level == 1 and not node.module))
        for line in [node.lineno]
    ]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_ends_with_the_list_of_its_public_names(path):
    names, is_last = all_names(path)
    assert names, "no __all__"
    assert set(names) <= defined_names(path)
    assert len(set(names)) == len(names)
    ends_with_guard = ast.unparse(ast.parse(path.read_text("utf-8")).body[-1]).startswith("if __name__ ==")
    assert is_last or ends_with_guard


@pytest.mark.parametrize("stub", [path for path in SOURCES if path.suffix == ".pyi"], ids=relative)
def test_stub_of_a_room_exports_what_it_imports(stub):
    names, is_last = all_names(stub)
    assert is_last
    assert set(names) == defined_names(stub) - {"__all__"}


def test_no_file_has_more_than_400_lines():
    long = {relative(path): count for path in SOURCES if (count := len(path.read_text("utf-8").splitlines())) > 400}
    assert long == {}


def test_every_room_is_listed_in_the_set_up():
    set_up = (ROOT / "setup.cfg").read_text("utf-8")
    assert [room for room in PRESENT if room != "wenlan" and f"wenlan.{room} = {room}" not in set_up] == []
