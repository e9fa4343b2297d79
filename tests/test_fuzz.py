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
def test_damage_depends_on_the_seed_and_changes_the_file(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(fuzz.Path(fuzz.__file__).parent.parent)
    whole = fuzz.seed_files(tmp_path, 0)[kind][0]
    made = [
        [fuzz.DAMAGE[kind](whole, np.random.default_rng([seed, case])) for case in range(3)]
        for seed in (0, 0, 1)
    ]
    assert made[0] == made[1] != made[2]
    assert whole not in made[0]


def test_damaged_json_is_still_json():
    whole = json.dumps({"a": [1, {"b": 2}], "c": "d"}).encode()
    for case in range(50):
        changed = fuzz.damage_json(whole, np.random.default_rng(case))
        json.loads(changed)


def test_a_process_that_dies_counts_as_a_crash_and_the_next_case_has_a_new_one(tmp_path):
    worker = fuzz.Worker("jpeg")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no picture")
    assert worker.ask(path) == "refused"
    first = worker.process
    # As if the case had killed it: it ends without an answer.
    first.kill()
    first.wait()
    assert worker.ask(path).startswith("crashed")
    assert worker.ask(path) == "refused"
    assert worker.process is not first
    worker.stop()
