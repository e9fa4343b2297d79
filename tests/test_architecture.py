"""Who may import whom, and how large a file may be, read from the source."""

import ast
import functools
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = ("support", "data", "models", "metrics", "training")
PACKAGES = (*LIBRARIES, "app", "benchmarks", "cluster")
SCRIPTS = ("train", "evaluate", "predict")
PROJECT = {*PACKAGES, *SCRIPTS, "config"}
MAY_IMPORT = {
    "support": set(),
    "data": {"support"},
    "models": {"support"},
    "metrics": {"support"},
    "training": {"support", "data", "models", "metrics", "config"},
}
LINES = {"train.py": 200, "predict.py": 200, "evaluate.py": 250}


def imported_modules(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, anywhere in it."""
    return _modules_named(path, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def modules_imported_at_the_top(path: Path) -> set[str]:
    """Return the full names of the modules that are imported when a file is."""
    return _modules_named(path, ast.parse(path.read_text(encoding="utf-8")).body)


def _modules_named(path: Path, nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path)}


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).glob("**/*.py"))]


def every_source() -> list[Path]:
    return [*sorted(ROOT.glob("*.py")), *sources(*PACKAGES)]


@functools.cache
def defined_names(path: Path) -> set[str]:
    """Return the names that a module defines or imports, and those of its submodules."""
    found = {other.stem for other in path.parent.glob("*.py")} if path.stem == "__init__" else set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_late_imports_name_what_there_is():
    # Those at the top fail with the first test; these when a command is run.
    for path in [*every_source(), *sorted((ROOT / "tests").glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.module.split(".")[0] not in PROJECT:
                continue
            module = ROOT.joinpath(*node.module.split("."))
            file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
            missing = {alias.name for alias in node.names} - defined_names(file)
            assert not missing, f"{path}:{node.lineno}: {node.module} has no {missing}"


@pytest.mark.parametrize("package", LIBRARIES)
def test_a_library_imports_only_what_it_may(package):
    for path in sources(package):
        assert roots(path) & PROJECT <= MAY_IMPORT[package] | {package}, path


def test_nobody_imports_a_script():
    for path in every_source():
        assert roots(path).isdisjoint(SCRIPTS), path


def test_nobody_imports_what_runs_on_a_cluster():
    for path in every_source():
        assert "cluster" not in roots(path) or path.parent.name == "cluster", path


@pytest.mark.parametrize(
    "path",
    [
        "config.py",
        "app/settings.py",
        "cluster/plan.py",
        "cluster/settings.py",
        "models/applications.py",
        "models/backbones.py",
        "models/description.py",
        "models/description_checks.py",
        "training/model_paths.py",
        "training/run.py",
        "training/settings.py",
        *map(str, sources("support")),
    ],
)
def test_what_help_and_messages_need_is_the_standard_library_alone(path):
    assert roots(ROOT / path) <= {*sys.stdlib_module_names, *PROJECT}


def test_predict_starts_without_the_slow_packages():
    # TensorFlow is imported where it is needed, Matplotlib with --explain.
    first = imported_modules(ROOT / "predict.py") - {"metrics.explanation", "metrics.png"}
    waiting = dict.fromkeys(first, "predict.py")
    seen: set[str] = set()
    while waiting:
        name, importer = waiting.popitem()
        file, package = ROOT / f"{name.replace('.', '/')}.py", ROOT / name / "__init__.py"
        path = file if file.is_file() else package
        assert name.split(".")[0] not in {"tensorflow", "keras", "sklearn", "matplotlib"}, importer
        if path.is_file() and name not in seen:
            waiting |= dict.fromkeys(modules_imported_at_the_top(path), name)
        seen.add(name)
    assert {"metrics.decision", "models.ensemble"} <= seen


@pytest.mark.parametrize("package", LIBRARIES)
def test_inside_a_folder_imports_run_one_way(package):
    names = {f"{package}.{path.stem}": path for path in sources(package) if path.stem[0] != "_"}
    edges = {name: imported_modules(path) & set(names) for name, path in names.items()}
    done: set[str] = set()
    while len(done) < len(edges):
        ready = {name for name, needs in edges.items() if name not in done and needs <= done}
        assert ready, f"a cycle among {sorted(set(edges) - done)}"
        done |= ready


def test_libraries_import_at_the_top_of_the_file():
    # What the start-up of `predict.py` and `--help` must not wait for, or what is optional.
    late = {"pandas", "sklearn", "keras_hub", "matplotlib", "pillow_heif"}
    for path in sources(*LIBRARIES):
        if path in {ROOT / f"models/{name}.py" for name in ("backend", "engines", "litert")}:
            continue  # they import TensorFlow where it is needed
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            for node in ast.walk(function):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert {name.split(".")[0] for name in names} <= late, f"{path}: {function.name}"


def test_the_root_holds_three_verbs_and_the_settings():
    assert {path.stem for path in ROOT.glob("*.py")} == {*SCRIPTS, "config"}


def test_files_functions_and_parameter_lists_stay_short():
    for path in [*every_source(), *sorted((ROOT / "tests").glob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        limit = LINES.get(path.name, 350)
        assert len(text.splitlines()) <= limit, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 70, f"{path}: {node.name}"


def test_the_file_names_of_a_run_stand_in_one_file():
    names = {"model.keras", "resume.json", "resume.npz", "history.csv", "split.csv"}
    for path in every_source():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        found = names & literals
        assert not found or path == ROOT / "training/run.py", f"{path}: {found}"
