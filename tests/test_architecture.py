"""The shape of the package, read from its source: layers, cycles, folder sizes, remote code, public names."""

import ast
import configparser
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

import pytest
from helpers.paths import ROOT
from helpers.sources import MODULES, SOURCES, SUB_PACKAGES, package_of, relative, tree_of

LAYERS = {
    "modeling_brivl": 0,
    "modeling_mlmm": 0,
    "modeling_region_detector": 0,
    "data": 0,
    "processing": 1,
    "pipelines": 2,
    "evaluation": 3,
    "retrieval": 3,
    "analysis": 3,
    "conversion": 3,
    "training": 4,
    "training_scripts": 5,
    "serving": 5,
    "wenlan": 6,
}
REMOTE_CODE = ("modeling_brivl", "modeling_mlmm", "modeling_region_detector", "processing")  # the files at their root
MAX_MODULES, MAX_LINES, BLOCK = 14, 400, 8


def file_of(parts):
    """Returns the file of a module given by its parts, or None: ("wenlan", "data", "pairs") is its __init__.py."""
    rest = parts[1:]
    folder = ROOT.joinpath(*rest) if rest and rest[0] in SUB_PACKAGES else ROOT.joinpath("wenlan", *rest)
    return next((path for path in (folder.with_suffix(".py"), folder / "__init__.py") if path.is_file()), None)


def imports_of(path):
    """Yields (line, level, parts of the module, name or None) for every import, also lazy and typing-only ones."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, tuple(alias.name.split(".")), None
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            base = package[: len(package) + 1 - node.level] if node.level else ()
            for alias in node.names:
                yield node.lineno, node.level, (*base, *(node.module or "").split(".")), alias.name


def files_imported(path):
    """Yields (line, file) for every import of the package: the module that defines the name, where there is one."""
    for line, _, parts, name in imports_of(path):
        parts = tuple(filter(None, parts))
        if parts[:1] == ("wenlan",):
            yield line, file_of((*parts, name)) or file_of(parts)


def all_names(path):
    """Returns the names in `__all__` of a module, None without it, and whether nothing but a guard comes after it."""
    body = tree_of(path).body
    for index, node in enumerate(body):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value), all(is_guard(after) for after in body[index + 1 :])
    return None, False


def is_guard(node):
    return ast.unparse(node).startswith("if __name__ ==")


def defined_names(path):
    names = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return names


def code_lines(path):
    """Returns (number, line) of what a copy would be made of.

    Left out are blank lines, comments, docstrings, imports, `__all__`, lone brackets, and the heads of functions:
    transformers reads the parameters of a `forward` from its head, so each model has to list them.
    """
    left_out = set()
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant(str())) | ast.Assign([ast.Name("__all__")]):
                left_out |= set(range(node.lineno, node.end_lineno + 1))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                left_out |= set(range(node.lineno, node.body[0].lineno))
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    stripped = [(number, line.split("  # ")[0].strip()) for number, line in lines if number not in left_out]
    return [(number, line) for number, line in stripped if line.strip("()[]{},:") and not line.startswith("#")]


def closed_folder(path):
    """Returns the folder of remote code that a file belongs to, or None."""
    return path.parent.name if path.parent.parent == ROOT and path.parent.name in REMOTE_CODE else None


def repeated_blocks(paths):
    """Returns the places of equal blocks of `BLOCK` lines, except in two closed folders, which cannot share them."""
    places = defaultdict(list)
    for path in paths:
        lines = code_lines(path)
        for first in range(len(lines) - BLOCK + 1):
            block = lines[first : first + BLOCK]
            places[tuple(line for _, line in block)].append((path, block[0][0]))
    return [
        f"{relative(one)}:{line} = {relative(other)}:{other_line}"
        for found in places.values()
        for (one, line), (other, other_line) in combinations(found, 2)
        if closed_folder(one) is None or closed_folder(other) in (None, closed_folder(one))
    ]


def find_cycle(edges):
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_sub_packages_and_modules_are_found():
    assert {"modeling_brivl", "processing", "data", "training", "wenlan"} <= set(SUB_PACKAGES) <= set(LAYERS)
    assert len(MODULES) > 200
    imported = dict(files_imported(ROOT / "training_scripts" / "pretrain_brivl.py"))
    assert ROOT / "modeling_brivl" / "momentum_queue_callback.py" in imported.values()


@pytest.mark.parametrize("name", SUB_PACKAGES)
def test_sub_package_imports_only_the_layers_below(name):
    wrong = [
        f"{relative(path)}:{line} imports {relative(imported)}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == name
        for line, imported in files_imported(path)
        if (other := imported.relative_to(ROOT).parts[0]) != name and LAYERS[other] >= LAYERS[name]
    ]
    assert wrong == []


def test_files_and_rows_lie_below_the_rest_of_data():
    wrong = [
        f"{relative(path)}:{line} imports {relative(imported)}"
        for folder in ("files", "rows")
        for path in (ROOT / "data" / folder).rglob("*.py")
        for line, imported in files_imported(path)
        if imported.relative_to(ROOT / "data").parts[0] not in ("files", "rows")
    ]
    assert wrong == []


def test_no_two_files_import_each_other_however_far_around():
    edges = {path: {file for _, file in files_imported(path)} - {path} for path in MODULES}
    assert [relative(path) for path in find_cycle(edges)] == []
    pair, report = ROOT / "data" / "pairs" / "load.py", ROOT / "data" / "rows" / "report.py"
    assert find_cycle(edges | {report: {pair}}) != []


def test_imports_inside_the_package_are_relative():
    absolute = [
        f"{relative(path)}:{line} imports {'.'.join(parts)}"
        for path in SOURCES
        for line, level, parts, _ in imports_of(path)
        if level == 0 and parts[0] in {"wenlan", *LAYERS}
    ]
    assert absolute == []


@pytest.mark.parametrize("folder", REMOTE_CODE)
def test_remote_code_imports_nothing_from_other_folders(folder):
    """The Hub's collector of remote code follows only `from .module import name`."""
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in (ROOT / folder).glob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom)
        and node.level
        and (node.level > 1 or not node.module or not (path.parent / f"{node.module}.py").is_file())
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", [name for name in REMOTE_CODE if name.startswith("modeling_")])
def test_folders_of_models_are_flat(folder):
    assert [path for path in (ROOT / folder).rglob("*.py") if path.parent != ROOT / folder] == []


def test_no_folder_holds_too_many_modules():
    folders = {path.parent for path in MODULES} | {ROOT / "benchmarks", ROOT / "tools"}
    modules = {relative(one): len([p for p in one.glob("*.py") if p.name != "__init__.py"]) for one in folders}
    assert {folder: count for folder, count in modules.items() if count > MAX_MODULES} == {}


def test_scripts_run_and_library_files_do_not():
    runnable = {relative(path) for path in MODULES if any(is_guard(node) for node in tree_of(path).body)}
    scripts = {relative(path) for path in (ROOT / "training_scripts").rglob("*.py") if path.name != "__init__.py"}
    assert runnable == scripts


def test_no_file_is_too_long():
    long = {
        relative(path): count for path in SOURCES if (count := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_block_of_lines_stands_twice():
    assert repeated_blocks(MODULES) == []
    load = ROOT / "data" / "pairs" / "load.py"
    assert f"{relative(load)}:{code_lines(load)[0][0]} = " in repeated_blocks([load, load])[0]


def test_every_module_ends_with_the_list_of_its_public_names():
    wrong = []
    for path in MODULES:
        if path.name in ("__init__.py", "__main__.py"):
            continue
        names, is_last = all_names(path)
        if not names or not is_last or len(set(names)) < len(names) or not set(names) <= defined_names(path):
            wrong.append(relative(path))
    assert wrong == []


@pytest.mark.parametrize("stub", [path for path in SOURCES if path.suffix == ".pyi"], ids=relative)
def test_stub_exports_what_it_imports(stub):
    names, is_last = all_names(stub)
    assert is_last
    assert set(names) == defined_names(stub) - {"__all__"}


def test_every_package_is_listed_in_the_set_up():
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg", "utf-8")
    packages = {".".join(package_of(path)) for path in MODULES}
    assert set(options["options"]["packages"].split()) == packages


def test_tests_mirror_the_tree():
    """A folder of tests is a folder of the package; helpers, fixtures and the comparison with transformers apart."""
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")} - {ROOT / "tests"}
    folders = {one for one in folders if "upstream" not in one.parts}
    missing = [relative(one) for one in folders if not (ROOT / one.relative_to(ROOT / "tests")).is_dir()]
    assert missing == []
