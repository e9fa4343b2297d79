"""The house keeps its walls: who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "models", "metrics", "app", "benchmarks")
LIBRARIES = ("data", "models", "metrics")
SCRIPTS = ("train", "evaluate", "predict")


def imported_modules(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).glob("**/*.py"))]


@pytest.mark.parametrize("package", LIBRARIES)
def test_libraries_import_neither_each_other_nor_config_nor_scripts(package):
    forbidden = {*PACKAGES, *SCRIPTS, "config"} - {package}
    for path in sources(package):
        assert {name.split(".")[0] for name in imported_modules(path)}.isdisjoint(forbidden), path


def test_scripts_never_import_scripts():
    for path in [ROOT / f"{name}.py" for name in SCRIPTS] + sources("app", "benchmarks"):
        assert {name.split(".")[0] for name in imported_modules(path)}.isdisjoint(SCRIPTS), path


def test_config_needs_the_standard_library_alone():
    import sys

    names = {name.split(".")[0] for name in imported_modules(ROOT / "config.py")}
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", LIBRARIES)
def test_inside_a_folder_imports_run_one_way(package):
    names = {f"{package}.{path.stem}": path for path in sources(package) if path.stem[0] != "_"}
    edges = {name: imported_modules(path) & set(names) for name, path in names.items()}
    done: set[str] = set()
    while len(done) < len(edges):
        ready = {name for name, needs in edges.items() if name not in done and needs <= done}
        assert ready, f"a circle among {sorted(set(edges) - done)}"
        done |= ready


def test_the_bundle_is_at_the_bottom_of_models():
    inside = {name for name in imported_modules(ROOT / "models/bundle.py") if "models." in name}
    assert inside <= {"models.ModelError"}


def test_the_root_holds_three_verbs_and_the_defaults():
    assert {path.stem for path in ROOT.glob("*.py")} == {*SCRIPTS, "config"}
