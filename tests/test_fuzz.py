"""The fuzzer damages files as its seed says, and survives what they do."""

import json

import numpy as np
import pytest

from benchmarks import fuzz


def test_a_hundred_damaged_files_are_used_or_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(fuzz.Path(fuzz.__file__).parent.parent)
    counts = fuzz.run(100, seed=1, folder=tmp_path)
    assert {kind: sum(found.values()) for kind, found in counts.items()} == {
        "jpeg": 35,
        "png": 30,
        "table": 25,
        "model": 10,
    }
    assert capsys.readouterr().out == ""
    assert all(set(found) <= {"used", "refused"} for found in counts.values())
    assert all(found["refused"] for found in counts.values())


@pytest.mark.parametrize("kind", fuzz.DAMAGE)
def test_damage_depends_only_on_the_seed_and_changes_the_file(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(fuzz.Path(fuzz.__file__).parent.parent)
    intact = fuzz.seed_files(tmp_path, 0)[kind][0]
    damaged = [
        [fuzz.DAMAGE[kind](intact, np.random.default_rng([seed, case])) for case in range(3)]
        for seed in (0, 0, 1)
    ]
    assert damaged[0] == damaged[1] != damaged[2]
    assert intact not in damaged[0]


def test_damaged_json_is_still_valid_json():
    intact = json.dumps({"a": [1, {"b": 2}], "c": "d"}).encode()
    for case in range(50):
        json.loads(fuzz.damage_json(intact, np.random.default_rng(case)))


def test_a_process_that_dies_is_a_crash_and_a_new_one_takes_the_next_case(tmp_path):
    worker = fuzz.Worker("jpeg")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"not an image")
    assert worker.ask(path) == "refused"
    first = worker.process
    # As if the case had killed it: no outcome is written.
    first.kill()
    first.wait()
    assert worker.ask(path).startswith("crashed")
    assert worker.ask(path) == "refused"
    assert worker.process is not first
    worker.stop()
