"""The commands on Ray, without Ray: what they plan, resume, refuse and write."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import train
from cluster import job as job_module
from cluster import predict, sweep
from cluster.connection import Share, check_share
from cluster.job import Finished, KilledError, do_job
from cluster.place import Place
from cluster.plan import CrossValidation, plan_cross_validations
from cluster.summary import format_models, format_runs, read_runs, summarize_models, write_summary
from support import InputError
from training.early_stopping import EarlyStopping
from training.run import Run

PLACE = Place(os.getcwd(), Share(2, 0))


def plan(folder: Path, *argv: str) -> list:
    own, rest = (argv[: argv.index("--")], argv[argv.index("--") :]) if "--" in argv else (argv, ())
    return sweep.parse([*own, "--output_dir", str(folder), *rest])[1]


def write_run(training, *, finished: bool, values=(0.5,), **changed) -> Run:
    """Write the files of a run as train.py does, without a model."""
    run = Run(training.folder / "run")
    run.start(training.settings, {}, lambda path: path.touch())
    if changed:
        record = json.loads(run.config.read_text())
        run.config.write_text(json.dumps(record | {"config": record["config"] | changed}))
    if finished:
        with run.history.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", "phase", "val_loss", "val_accuracy", "val_balanced_accuracy"])
            rows = [(i, "train", 1 - v, v, v / 2) for i, v in enumerate(values, start=1)]
            writer.writerows(rows)
        run.model.touch()
        run.learning_curves.touch()
        run.finish()
    return run


def test_a_sweep_has_a_training_for_each_model_fold_and_seed(tmp_path):
    argv = ["--models", "sequential", "mobilenet", "--folds", "2", "--seeds", "3", "7"]
    trainings = plan(tmp_path, *argv, "--", "--image_size", "64", "--data_dir", "a b")
    assert [training.name for training in trainings] == [
        f"{model}-fold{fold}of2-seed{seed}"
        for model in ("sequential", "mobilenet")
        for seed in (3, 7)
        for fold in (0, 1)
    ]
    for training in trainings:
        # The same as the plain command.
        assert train.parse(list(training.arguments)) == training.settings
        assert training.settings.output_dir == str(training.folder)
    names = [group.name for group in plan_cross_validations(sweep.parse(argv)[0], trainings)]
    assert names[:2] == ["sequential-2folds-seed3", "sequential-2folds-seed7"]


def test_without_flags_a_sweep_is_one_training_of_the_default(tmp_path):
    (training,) = plan(tmp_path)
    assert training.name == "mobilenet-seed0"
    assert training.arguments == ("--seed", "0", "--output_dir", str(tmp_path / training.name))
    (training,) = plan(tmp_path, "--models", "keras:ResNet50", "--", "--image_size", "64")
    assert training.name == "keras-ResNet50-seed0"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["--", "--seed", "3"], "--seed is set by the sweep; remove it, and give --seeds before"),
        (["--", "--fold", "1"], "--fold is set by the sweep"),
        (["--", "--output_dir", "x"], "--output_dir is set by the sweep"),
        (["--", "--resume", "x"], "the same command resumes what is unfinished"),
        (["--folds", "1"], "--folds should be at least 2, or 0 for none, received 1"),
        (["--seeds", "1", "1"], "--seeds should differ, received 1 twice"),
        (["--seeds", "-1"], "--seeds should be at least 0, received [-1]"),
        (["--models", "resnet"], "--model: expected"),
        (["--cpus_per_run", "0"], "--cpus_per_run should be at least 1, received 0"),
        (
            ["--models", "sequential", "mobilenet", "--", "--fine_tune_layers", "3"],
            "--fine_tune_layers is for pretrained backbones; sequential has none",
        ),
    ],
)
def test_a_wrong_flag_is_one_line_before_anything_starts(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        sweep.main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_missing_data_are_one_line_before_anything_starts(tmp_path, capsys):
    output = ["--output_dir", str(tmp_path / "out")]
    assert sweep.main([*output, "--", "--data_dir", str(tmp_path / "no")]) == 2
    assert "--data_dir: expected a folder of images, found nothing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_many_trainings_do_not_generate_the_sample_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sweep.main(["--", "--sample"]) == 2
    assert "run python -m data.sample --output_dir datasets/sample" in capsys.readouterr().err


def test_without_ray_the_message_says_what_to_install(tmp_path, sample_dir, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    missing = "error: the package ray is not installed: pip install -r requirements-ray.txt"
    argv = ["--output_dir", str(tmp_path), "--", "--data_dir", str(sample_dir)]
    assert sweep.main(argv) == 2
    assert capsys.readouterr().err.splitlines() == [f"python -m cluster.sweep: {missing}"]
    argv = ["--image", str(sample_dir), "--output", str(tmp_path / "out.parquet")]
    assert predict.main(argv) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"python -m cluster.predict: {missing}"


def test_a_training_goes_on_where_its_folder_is(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        job_module,
        "_run_script",
        lambda arguments, *_: commands.append(arguments) or Finished(False),
    )
    (training,) = plan(tmp_path)
    do_job(training, PLACE)
    # A run that was killed before its start was recorded cannot resume.
    (training.folder / "killed").mkdir(parents=True)
    (training.folder / "killed" / "config.json").touch()
    do_job(training, PLACE)
    run = write_run(training, finished=False)
    do_job(training, PLACE)
    new = ["train.py", *training.arguments]
    assert commands == [new, new, ["train.py", "--resume", str(run.folder)]]
    run.learning_curves.touch()
    run.finish()
    assert do_job(training, PLACE).is_done
    assert len(commands) == 3


def test_runs_with_other_settings_are_refused(tmp_path, sample_dir, capsys):
    argv = ["--output_dir", str(tmp_path), "--", "--data_dir", str(sample_dir)]
    (training,) = sweep.parse(argv)[1]
    # The path of the folder may have changed, the settings not.
    run = write_run(training, finished=True, epochs=3, output_dir="elsewhere")
    assert sweep.main(argv) == 2
    assert capsys.readouterr().err == (
        "python -m cluster.sweep: error: --output_dir: expected runs with the settings of this "
        f"sweep, received {run.folder} with 1 other setting, for example epochs: 3, not 16; "
        "choose another --output_dir\n"
    )


def write_script(folder: Path, text: str) -> None:
    (folder / "train.py").write_text(text)


def test_the_last_line_of_a_failing_training_is_its_message(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "ROOT", tmp_path)
    (training,) = plan(tmp_path)
    write_script(tmp_path, "import sys; print('first'); sys.exit('train.py: error: no images')")
    finished = do_job(training, PLACE)
    assert (finished.is_done, finished.code) == (False, 1)
    assert finished.message == "train.py: error: no images"
    log = training.log.read_text().splitlines()
    assert log == [f"$ python train.py {' '.join(training.arguments)}", "first", log[2]]


def test_a_killed_training_asks_for_another_attempt(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "ROOT", tmp_path)
    (training,) = plan(tmp_path)
    write_script(tmp_path, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(KilledError, match="signal 9 ended it, perhaps because memory ran out"):
        do_job(training, PLACE)


def test_a_training_has_the_threads_of_its_share_and_no_variable_of_ray(tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "ROOT", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (training,) = plan(tmp_path)
    names = ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "CUDA_VISIBLE_DEVICES"]
    write_script(tmp_path, f"import os; print([os.environ.get(n) for n in {names}])")
    do_job(training, PLACE)
    assert training.log.read_text().splitlines()[-1] == "[None, '2', '-1']"


@pytest.mark.skipif(sys.platform != "linux", reason="uses prctl")
def test_a_script_ends_with_the_worker_that_started_it(tmp_path):
    (tmp_path / "train.py").write_text("import signal; print('on', flush=True); signal.pause()")
    bound = Path(job_module.__file__).with_name("bound.py")
    code = f"""import os, subprocess, sys
script = [{str(bound)!r}, str(os.getpid()), {str(tmp_path / "train.py")!r}]
subprocess.run([sys.executable, *script])"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"on\n"
        worker.send_signal(signal.SIGKILL)
        # The script holds the other end of the pipe until it ends.
        assert worker.stdout.read() == b""


def test_the_best_epoch_is_the_first_of_several():
    rows = [{"val_loss": loss} for loss in (0.9, 0.4, 0.5, 0.4)]
    assert EarlyStopping("loss", 10).find_best(rows) == 2
    rows = [{"val_balanced_accuracy": value} for value in (0.1, 0.6, 0.6)]
    assert EarlyStopping("balanced_accuracy", 10).find_best(rows) == 2


@pytest.fixture
def finished_sweep(tmp_path):
    """Two folds of two seeds and their metrics, and the tables of all."""
    argv = ["--models", "sequential", "--folds", "2", "--seeds", "0", "1"]
    argv += ["--output_dir", str(tmp_path)]
    settings, trainings = sweep.parse(argv)
    for training, value in zip(trainings, (0.5, 0.6, 0.7, 0.8), strict=True):
        write_run(training, finished=True, values=(0.1, value, 0.2))
    groups = plan_cross_validations(settings, trainings)
    intervals = {"accuracy": [0.5, 0.7], "balanced_accuracy": [0.2, 0.4]}
    metrics = {"accuracy": 0.6, "balanced_accuracy": 0.3, "intervals": intervals}
    groups[0].folder.mkdir()
    groups[0].metrics.write_text(json.dumps(metrics))
    return trainings, groups


def test_the_tables_hold_each_run_their_mean_and_the_metrics_out_of_fold(finished_sweep, tmp_path):
    trainings, groups = finished_sweep
    trainings[0].record.write_text(json.dumps({"is_done": True, "seconds": 90, "resumed": True}))
    runs = read_runs(trainings)
    assert runs["best_epoch"].tolist() == [2] * 4
    assert runs["accuracy"].tolist() == [0.5, 0.6, 0.7, 0.8]
    assert runs["balanced_accuracy"].tolist() == [0.25, 0.3, 0.35, 0.4]
    assert runs["fold"].tolist() == [0, 1, 0, 1]
    assert runs["minutes"].tolist()[0] == 1.5
    assert runs["resumed"].tolist() == [True, False, False, False]
    assert [group.is_finished for group in groups] == [True, False]
    models = summarize_models(runs, groups[:1])
    mean, mean_balanced, out_of_fold, balanced = models.itertuples()
    assert mean_balanced.value == pytest.approx(0.325)
    assert (balanced.value, balanced.low, balanced.high) == (0.3, 0.2, 0.4)
    assert (mean.runs, mean.value) == (4, pytest.approx(0.65))
    assert mean.standard_deviation == pytest.approx(np.std([0.5, 0.6, 0.7, 0.8], ddof=1))
    assert (out_of_fold.seed, out_of_fold.value, out_of_fold.low) == (0, 0.6, 0.5)
    files = write_summary(tmp_path, runs, models)
    assert [file.name for file in files] == ["runs.csv", "models.csv", "sweep.png"]
    assert "2 of 3" in format_runs(runs).splitlines()[1]
    assert "0.500 to 0.700" in format_models(models)
    assert pd.read_csv(files[1])["seed"].tolist()[2:] == [0, 0]


def test_a_model_that_is_newer_than_the_metrics_is_measured_again(finished_sweep):
    trainings, (group, _) = finished_sweep
    later = group.metrics.stat().st_mtime + 10
    os.utime(trainings[1].find_run().model, (later, later))
    assert not group.is_finished
    assert group.is_trained


def test_a_finished_sweep_is_summarized_without_ray(tmp_path, sample_dir, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    argv = ["--output_dir", str(tmp_path), "--", "--data_dir", str(sample_dir)]
    write_run(sweep.parse(argv)[1][0], finished=True)
    assert sweep.main(argv) == 0
    assert "1 training in" in capsys.readouterr().out


def test_a_share_that_fits_on_no_machine_is_refused():
    machines = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 3.0}]
    assert [Share(*share).count(machines) for share in ((2, 0), (1, 1), (4, 0), (5, 0))] == [
        3,
        1,
        1,
        0,
    ]
    with pytest.raises(InputError, match="8 CPUs, received 2 machines, 7 CPUs, 1 GPU; reduce --x"):
        check_share(Share(8, 0), machines, flags="--x")


def test_folds_of_a_group_are_named_in_its_evaluation(finished_sweep, monkeypatch):
    commands = []
    monkeypatch.setattr(
        job_module,
        "_run_script",
        lambda arguments, *_: commands.append(arguments) or Finished(False),
    )
    _, (first, second) = finished_sweep
    assert isinstance(first, CrossValidation)
    assert do_job(first, PLACE).is_done
    do_job(second, PLACE)
    models = [str(member.find_run().model) for member in second.members]
    output = ["--output_dir", str(second.folder)]
    assert commands == [["evaluate.py", "--model_path", *models, *output]]


def test_a_machine_without_the_folder_of_the_project_says_so(tmp_path):
    (training,) = plan(tmp_path)
    with pytest.raises(InputError, match=r"expected the folder .*gone on the machine .*same paths"):
        do_job(training, Place(str(tmp_path / "gone"), Share(2, 0)))
