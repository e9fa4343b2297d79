import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import config
from support import InputError, cli

ROOT = Path(__file__).parent.parent


def code_of(error: BaseException, **options) -> int:
    def command() -> int:
        raise error

    return cli.run("script.py", command, **options)


class ResourceExhaustedError(Exception):
    """TensorFlow's error of this name."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("expected a,\nreceived b"), 2, "script.py: error: expected a,?received b"),
        (OSError(2, "No such file", "a.csv"), 2, "script.py: error: a.csv: no such file"),
        (OSError(28, "No space left"), 2, "script.py: error: no space left; free some disk space"),
        (OSError("a\x1b[31m\nb"), 2, "script.py: error: a?[31m?b"),
        (OSError(2, "No such file", "a\x9b\u202e"), 2, "script.py: error: a??: no such file"),
        (KeyboardInterrupt("resume \x1b"), 130, "script.py: stopped; resume ?"),
        (KeyboardInterrupt(), 130, "script.py: stopped"),
        (KeyboardInterrupt("resume it"), 130, "script.py: stopped; resume it"),
        (MemoryError(), 2, "script.py: error: memory"),
        (ResourceExhaustedError(), 2, "script.py: error: memory"),
        (
            ModuleNotFoundError(name="pandas.core"),
            2,
            "script.py: error: the package pandas is not installed: pip install -r r.txt",
        ),
    ],
)
def test_an_exception_becomes_an_exit_code_and_one_line(error, code, line, capsys):
    assert code_of(error, out_of_memory="memory", requirements="r.txt") == code
    assert capsys.readouterr().err.strip() == line


@pytest.mark.parametrize("error", [ValueError("a bug"), ModuleNotFoundError(name="models.gone")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        code_of(error)


def test_a_warning_is_one_line(capsys):
    import warnings

    def command() -> int:
        warnings.warn("3 rows are\nrepeated\x1b[31m", UserWarning, stacklevel=1)
        return 1

    assert cli.run("script.py", command) == 1
    assert capsys.readouterr().err == "warning: 3 rows are?repeated?[31m\n"


def test_the_flag_is_named_where_it_is_known():
    with (
        pytest.raises(InputError, match=r"^--data_dir: expected a folder$"),
        cli.naming_flag("--data_dir"),
    ):
        raise InputError("expected a folder")


def test_a_reader_that_closes_the_pipe_ends_a_command_silently():
    code = (
        "import sys; from support import cli\n"
        "def command():\n"
        "    for number in range(100_000): print(number)\n"
        "    return 0\n"
        "sys.exit(cli.run('script.py', command))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().strip() == b"0"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "predict.py"])
@pytest.mark.parametrize("package", ["numpy", "pandas", "tensorflow"])
def test_a_missing_package_is_one_line(script, package, tmp_path):
    # A package that cannot be found, whatever is installed.
    hook = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    (tmp_path / "sitecustomize.py").write_text(hook)
    for i in range(6):
        folder = tmp_path / "images" / ("nv", "mel")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(folder / f"{i}.png")
    arguments = {
        "train.py": ["--data_dir", "images"],
        "evaluate.py": ["--model_path", str(ROOT / config.BUNDLED_MODEL), "--data_dir", "images"],
        "predict.py": ["--image", "images"],
    }[script]
    if package == "pandas" and script == "predict.py":
        pytest.skip("predict.py needs pandas for --output alone")
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    expected = f"the package {package} is not installed: pip install -r requirements.txt"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"{script}: error: {expected}")
    assert "Traceback" not in done.stderr
