import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from models.backend import start_tensorflow
print(start_tensorflow())
loaded = {"sklearn", "pandas", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
import matplotlib.pyplot, pandas, sklearn.metrics
"""


def test_tensorflow_starts_without_packages_that_nothing_needs_and_leaves_them_importable():
    run = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(("CPU (", "GPU ("))
