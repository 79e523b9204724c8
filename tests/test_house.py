"""The house: imports go down only, doors do not know each other, importing costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "one_cache"

# the first part of a module's name below the package, and the floor it stands on
FLOORS = {
    0: ["errors", "modes", "records", "atomic"],
    1: [
        "spec",
        "tables",
        "store",
        "hashes",
        "locks",
        "settings",
        "progress",
        "journal",
        "responses",
        "remotes",
        "trials",
    ],
    2: [
        "alf",
        "query",
        "manifest",
        "recorder",
        "transfer",
        "depot",
        "relation",
    ],
    3: ["catalogue", "snapshot", "index", "bundle", "mirrored", "remotes.alyx", "remotes.web"],
    4: ["cache"],
    5: ["ecephys", "neuprint", "datajoint", "rig", "trials.results"],
    6: ["cli", "serve", "sample", "demo", "testing"],
}
DOORS = FLOORS[5]
HEAVY = {"pandas", "numpy", "duckdb", "pyarrow", "requests", "tqdm", "matplotlib", "pynwb"}


def floor_of(name):
    parts = name.split(".")
    for floor, names in FLOORS.items():
        if ".".join(parts[:2]) in names:
            return floor
    for floor, names in FLOORS.items():
        if parts[0] in names:
            return floor
    raise AssertionError(f"{name} stands on no floor; give it one in {__file__}")


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            yield name, path


def imports(path):
    """Names below the package that a file imports when it runs, wherever in it."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield from ([name.removeprefix("one_cache.")] if name.startswith("one_cache.") else [])


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: str(value)[-30:])
def test_imports_go_down_only(name, path):
    here = name.split(".")[0]
    for target in imports(path):
        if target.startswith("__version__") or target.split(".")[0] == here:
            continue
        assert floor_of(target) < floor_of(name) or (
            # neighbours of these floors stand on one another; cycles are refused below
            floor_of(target) == floor_of(name) and floor_of(name) in (0, 1, 2, 6)
        ), f"{name} imports {target}, which does not stand below it"


def test_no_two_parts_import_each_other():
    needs = {}
    for name, path in modules():
        here = name.split(".")[0]
        needs.setdefault(here, set()).update(t.split(".")[0] for t in imports(path))
    for part, targets in needs.items():
        for target in targets - {part}:
            assert part not in needs.get(target, ()), f"{part} and {target} import each other"


def test_doors_do_not_know_each_other():
    for name, path in modules():
        if any(name == door or name.startswith(f"{door}.") for door in DOORS):
            for target in imports(path):
                other = [door for door in DOORS if target == door or target.startswith(f"{door}.")]
                assert all(name.startswith(door) for door in other), f"{name} imports {target}"


def test_the_cache_knows_no_concrete_remote():
    for name, path in modules():
        if name.startswith("cache"):
            concrete = [t for t in imports(path) if t.startswith("remotes.") and t[8].islower()]
            known = [t for t in concrete if t.split(".")[1] in ("http", "folder", "alyx", "s3")]
            assert not known, f"{name} imports {known}"


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, one_cache; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_no_prompt_print_or_assert_outside_the_command():
    for name, path in modules():
        if name.split(".")[0] == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "input"), f"{name}:{node.lineno}"
            if name != "testing":
                assert not isinstance(node, ast.Assert), f"{name}:{node.lineno}: assert"
