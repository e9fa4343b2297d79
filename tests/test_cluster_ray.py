"""The commands on a real cluster of two nodes, one of which is killed half way."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pandas as pd
import pytest

from data.ham10000 import CLASS_NAMES, MALIGNANT
from models.bundle import load_model, save_model, update_description
from models.factory import build_model
from training.run import Run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
# The threads of a share, for the plain commands, which use all cores.
THREADS = {"TF_NUM_INTRAOP_THREADS": "2"}
SMALL = ["--image_size", "32", "--batch_size", "8", "--epochs", "12"]
DEADLINE = 240


@pytest.fixture
def nodes(monkeypatch) -> Iterator:
    """A cluster of two nodes with two CPUs each, of which the test may kill the second."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    utils = pytest.importorskip("ray.cluster_utils")
    resources = {"num_cpus": 2, "include_dashboard": False}
    cluster = utils.Cluster(initialize_head=True, head_node_args=resources)
    try:
        second = cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        yield cluster, second
    finally:
        cluster.shutdown()


def start(*argv: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, argv)],
        cwd=ROOT,
        env=os.environ | THREADS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_plainly(*argv: object) -> str:
    process = start(*argv)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode in (0, 1), err
    return out


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Poll a condition while a command runs."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the command hangs"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


def find_run(folder: Path) -> Run:
    (path,) = [path for path in folder.glob("*/") if (path / "config.json").exists()]
    return Run(path)


def test_a_sweep_that_loses_a_node_ends_as_the_plain_commands(nodes, sample_dir, tmp_path):
    cluster, second = nodes
    argv = ["--models", "sequential", "--seeds", "0", "1", "--output_dir", tmp_path / "sweep"]
    argv += ["--address", cluster.address, "--", "--data_dir", sample_dir, *SMALL]
    process = start("-m", "cluster.sweep", *argv)
    names = ["sequential-seed0", "sequential-seed1"]
    folders = [tmp_path / "sweep" / name for name in names]
    wait_until(lambda: all([*folder.glob("*/resume.npz")] for folder in folders), process)
    cluster.remove_node(second, allow_graceful=False)
    out, err = process.communicate(timeout=DEADLINE)
    print(out, err)
    assert process.returncode == 0, err
    assert err == ""
    assert out.count(": finished in") == 2
    # The training of the killed node went on from its checkpoint on the other.
    (line,) = [line for line in out.splitlines() if line.endswith(", resumed")]
    assert "Ray 2" in out
    for seed, folder in enumerate(folders):
        run, log = find_run(folder), folder.joinpath("train.log").read_text()
        is_lost = line.startswith(f"{folder.name}:")
        assert (f"$ python train.py --resume {run.folder}" in log) == is_lost
        if is_lost:
            flags = ["--model", "sequential", "--seed", seed, "--data_dir", sample_dir, *SMALL]
            run_plainly("train.py", *flags, "--output_dir", tmp_path / "plain")
            expected = find_run(tmp_path / "plain")
            assert run.history.read_bytes() == expected.history.read_bytes()
            weights = [load_model(other.model).get_weights() for other in (expected, run)]
            assert all((a == b).all() for a, b in zip(*weights, strict=True))
    table = pd.read_csv(tmp_path / "sweep" / "runs.csv")
    assert table["epochs"].tolist() == [12, 12]
    assert sorted(table["resumed"]) == [False, True]


@pytest.fixture
def model(tmp_path) -> Path:
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    update_description(model, malignant=MALIGNANT, data_name="sample")
    save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_a_prediction_that_loses_a_node_has_the_rows_of_predict(nodes, sample_dir, model, tmp_path):
    cluster, second = nodes
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    paths = [*map(str, sorted(sample_dir.rglob("*.jpg"))), str(broken)] * 14
    (tmp_path / "list.txt").write_text("\n".join(paths))
    output = tmp_path / "out.parquet"
    argv = ["-m", "cluster.predict", "--image", tmp_path / "list.txt", "--model_path", model]
    argv += ["--output", output, "--batch_size", "1"]
    process = start(*argv, "--address", cluster.address)
    wait_until(lambda: len([*output.glob("part-*")]) >= 4, process)
    cluster.remove_node(second, allow_graceful=False)
    killed_at = len([*output.glob("part-*")])
    out, err = process.communicate(timeout=DEADLINE)
    print(killed_at, out, err)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "skipped 14 images; the column skipped gives the reasons"
    assert "994 images in 32 parts, 0 of them finished" in out
    assert killed_at < 32
    table = pd.read_parquet(output)
    assert table["image"].tolist() == paths
    assert set(table["skipped"].dropna()) == {table["skipped"][70]}
    assert table["skipped"][70].startswith(f"{broken}: ")
    plain = tmp_path / "plain.json"
    images = ["--image", *paths[:200], "--model_path", model, "--batch_size", "1"]
    run_plainly("predict.py", *images, "--output", plain)
    expected = json.loads(plain.read_text())
    rows = table[:200][table["skipped"][:200].isna()].drop(columns="skipped")
    rows = rows.astype(object).where(rows.notna(), None)
    assert rows.to_dict(orient="records") == expected


@pytest.fixture
def with_ctrl_c() -> Iterator[None]:
    """Let children receive SIGINT, which a test run in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("with_ctrl_c")
def test_a_stopped_prediction_goes_on_where_it_was(sample_dir, model, tmp_path):
    pytest.importorskip("ray")
    images = [*map(str, sorted(sample_dir.rglob("*.jpg")))] * 6
    (tmp_path / "list.txt").write_text("\n".join(images))
    output = tmp_path / "out.parquet"
    argv = ["-m", "cluster.predict", "--image", tmp_path / "list.txt", "--model_path", model]
    argv += ["--output", output, "--batch_size", "1"]
    process = start(*argv)
    wait_until(lambda: any(output.glob("part-*")), process)
    # Ctrl-C reaches all processes of a terminal, Ray's as well.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, err
    assert "420 images in 14 parts, 0 of them finished" in out
    assert err.endswith(" of 14 parts finished; repeat the same command to resume\n")
    times = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert f"420 images in 14 parts, {len(times)} of them finished" in run_plainly(*argv)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert pd.read_parquet(output)["image"].tolist() == images
    # Nothing is left, so Ray is not started.
    assert "Ray" not in run_plainly(*argv)
