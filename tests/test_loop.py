import csv
import dataclasses

import keras
import numpy as np
import pytest
from tiny import CLASSES, fit, tiny_data, tiny_images, tiny_model

from data.augmentation import AugmentationSettings
from models.bundle import get_description, load_model
from models.factory import build_model
from training import DivergedError
from training.callbacks import BestEpoch, StopAtNaN
from training.checkpoint import load_checkpoint
from training.early_stopping import EarlyStopping
from training.phases import Phase
from training.run import Run
from training.schedules import OptimizerSettings, learning_rate_at

pytestmark = pytest.mark.usefixtures("shallow_baseline")

AUGMENTATION = AugmentationSettings(rotation_degrees=180, brightness=0.05)
THREE_EPOCHS = [Phase("train", 3, 1e-3)]
CONSTANT = {"schedule": "constant", "warmup_fraction": 0.0}


def sequential(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_model("sequential", image_size=32, class_names=CLASSES)


def test_history_and_the_best_epoch_are_written(tmp_path):
    keras.utils.set_random_seed(0)
    result = fit(
        tmp_path,
        model=tiny_model(),
        data=tiny_data(8),
        phases=THREE_EPOCHS,
        augmentation=AUGMENTATION,
    )
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["val_loss"]) == result.history[2]["val_loss"]
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    model = load_model(tmp_path / "model.keras")
    images, targets = tiny_images(8)
    model.compile(loss="categorical_crossentropy")
    assert model.evaluate(images, targets, verbose=0) == pytest.approx(min(losses), rel=1e-4)
    # The checkpoint is for `--resume`; no unfinished file is left.
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"history.csv", "model.keras", "resume.npz"}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_history_and_weights(tmp_path):
    runs = {}
    for name, seed in (("one", 4), ("two", 4), ("other", 5)):
        (tmp_path / name).mkdir()
        model, data = sequential(seed), tiny_data(32, seed=seed, plain=False)
        fit(tmp_path / name, model=model, data=data, phases=THREE_EPOCHS, augmentation=AUGMENTATION)
        history = (tmp_path / name / "history.csv").read_bytes()
        runs[name] = history, np.concatenate([w.ravel() for w in model.get_weights()])
    assert runs["one"][0] == runs["two"][0]
    assert (runs["one"][1] == runs["two"][1]).all()
    assert runs["one"][0] != runs["other"][0]


@pytest.mark.slow
def test_each_phase_has_its_own_learning_rate_and_trainable_layers(tmp_path):
    model = build_model("mobilenet", image_size=32, class_names=CLASSES)
    backbone = model.get_layer("backbone")
    first, last = backbone.get_layer("Conv1"), backbone.get_layer("Conv_1")
    before = [layer.get_weights()[0] for layer in (first, last)]
    phases = [Phase("head", 1, 1e-2, 0), Phase("fine-tune", 2, 1e-3, 10)]
    result = fit(tmp_path, model=model, data=tiny_data(32), phases=phases)
    assert [row["phase"] for row in result.history] == ["head", "fine-tune", "fine-tune"]
    after = [layer.get_weights()[0] for layer in (first, last)]
    assert (before[0] == after[0]).all()
    assert not (before[1] == after[1]).all()
    expected = learning_rate_at(4, schedule="cosine", peak=1e-3, total_steps=4, warmup_steps=0)
    assert result.history[2]["learning_rate"] == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.slow
def test_a_phase_that_continues_follows_the_schedule_of_the_one_before(tmp_path):
    whole = [Phase("head", 1, 1e-3), Phase("train", 3, 1e-3)]
    parts = [
        whole[0],
        Phase("one", 1, 1e-3),
        Phase("two", 2, 1e-3, continues=True),
    ]
    rates = []
    for name, phases in (("whole", whole), ("parts", parts)):
        (tmp_path / name).mkdir()
        data = tiny_data(8)
        result = fit(
            tmp_path / name, model=tiny_model(), data=data, phases=phases, warmup_fraction=0.5
        )
        rates.append([row["learning_rate"] for row in result.history])
    assert rates[0] == rates[1]
    assert len(set(rates[0][1:])) == 3


def test_a_phase_on_small_images_hands_its_weights_on(tmp_path):
    model = tiny_model(16)
    # Nothing is learned at full size: what is learned comes from the small images.
    phases = [Phase("small", 1, 1e-2, image_size=8), Phase("full", 1, 0.0, image_size=16)]
    trainable = [v.numpy() for v in model.trainable_variables]
    result = fit(tmp_path, model=model, data=tiny_data(8, 16), phases=phases)
    saved = load_model(tmp_path / "model.keras")
    assert get_description(saved).image_size == phases[result.best_epoch - 1].image_size
    new = [v.numpy() for v in model.trainable_variables]
    kept = [v.numpy() for v in saved.trainable_variables]
    for before, after, in_file in zip(trainable, new, kept, strict=True):
        assert not np.allclose(before, after, atol=1e-5)
        assert np.allclose(after, in_file, atol=1e-7)


def test_training_stops_early_and_saves_the_best_epoch(tmp_path):
    # With a learning rate of zero and no BatchNorm, no epoch is better than the first.
    layers = [layer for i, layer in enumerate(tiny_model().layers) if i != 2]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    phases = [Phase("train", 9, 0.0)]
    result = fit(tmp_path, model=model, data=tiny_data(8), phases=phases, patience=2)
    assert len(result.history) == 3
    assert (result.best_epoch, result.stopped_early) == (1, True)


def test_patience_counts_the_epochs_of_the_last_phase(tmp_path):
    best = BestEpoch(Run(tmp_path), EarlyStopping("loss", 2))
    best.begin_phase(Phase("small", 4, 1e-3), 0, may_stop=False)
    best.replay([{"val_loss": loss} for loss in (1, 2, 2, 2)])
    assert not best.stopped_early
    best.begin_phase(Phase("full", 4, 1e-3), 4, may_stop=True)
    best.replay([{"val_loss": 2}])
    assert not best.stopped_early
    best.replay([{"val_loss": 2}])
    assert best.stopped_early
    assert best.best_epoch == 1


@pytest.mark.slow
def test_the_saved_weights_are_averages_over_steps(tmp_path):
    def saved_weights(epochs: int, average_epochs: float) -> np.ndarray:
        keras.utils.set_random_seed(0)
        folder = tmp_path / f"{epochs} {average_epochs}"
        folder.mkdir()
        # Without BatchNorm and Dropout, all variables are weights.
        layers = [layer for i, layer in enumerate(tiny_model().layers) if i not in (2, 4)]
        # One step per epoch, so that the checkpoint has the weights after each step.
        data = dataclasses.replace(tiny_data(8), batch_size=16)
        fit(
            folder,
            model=keras.Sequential([keras.Input((8, 8, 3)), *layers]),
            data=data,
            phases=[Phase("train", epochs, 1e-2)],
            average_epochs=average_epochs,
            **CONSTANT,
        )
        return np.concatenate([v.ravel() for v in load_checkpoint(folder / "resume.npz").model])

    first, second = saved_weights(1, 0.0), saved_weights(2, 0.0)
    assert np.abs(first - second).max() > 1e-3
    assert np.allclose(saved_weights(2, 4.0), 0.75 * first + 0.25 * second, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": [Phase("train", 0, 1e-3)]}, "at least one epoch"),
        ({"phases": THREE_EPOCHS, "monitor": "accuracy"}, "monitor should be one of"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, model=tiny_model(), data=tiny_data(8), **options)


def test_a_loss_that_is_not_finite_stops_training_and_says_where(tmp_path):
    message = r"step \d \(epoch \d\) with a learning rate of 1e\+30; .* --learning_rate$"
    phases = [Phase("train", 2, 1e30)]
    with pytest.raises(DivergedError, match=message):
        fit(tmp_path, model=tiny_model(), data=tiny_data(8), phases=phases, **CONSTANT)


def test_a_head_phase_that_diverges_names_its_own_flag(tmp_path, monkeypatch):
    phases = [Phase("head", 2, 1e30, backbone_layers=0), Phase("train", 2, 1e-3)]
    monkeypatch.setattr("training.loop.unfreeze", lambda *_, **__: None)
    with pytest.raises(DivergedError, match=r"lower head_learning_rate in config\.py$"):
        fit(tmp_path, model=tiny_model(), data=tiny_data(8), phases=phases, **CONSTANT)


def one_step_data():
    """Return data of one step an epoch: its loss is computed before the weights change."""
    return dataclasses.replace(tiny_data(8), batch_size=16)


@pytest.mark.parametrize("monitor", ["loss", "balanced_accuracy"])
@pytest.mark.parametrize("average_epochs", [0.0, 4.0])
def test_a_validation_loss_that_is_not_finite_stops_training_as_well(
    tmp_path, monitor, average_epochs
):
    message = (
        r"^expected a finite validation loss, received nan at step 1 \(epoch 1\) with a learning "
        r"rate of 1e\+30; train again with a lower --learning_rate$"
    )
    with pytest.raises(DivergedError, match=message):
        fit(
            tmp_path,
            model=tiny_model(),
            data=one_step_data(),
            phases=[Phase("train", 2, 1e30)],
            monitor=monitor,
            average_epochs=average_epochs,
            **CONSTANT,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_best_epoch_before_a_phase_that_diverges_stays(tmp_path):
    phases = [Phase("one", 1, 1e-3), Phase("two", 1, 1e30)]
    with pytest.raises(DivergedError, match=r"validation loss, .*\(epoch 2\)"):
        fit(tmp_path, model=tiny_model(), data=one_step_data(), phases=phases, **CONSTANT)
    load_model(tmp_path / "model.keras")
    assert len(load_checkpoint(tmp_path / "resume.npz").history) == 1


def test_a_head_phase_whose_validation_loss_diverges_names_its_own_flag(tmp_path, monkeypatch):
    phases = [Phase("head", 2, 1e30, backbone_layers=0)]
    monkeypatch.setattr("training.loop.unfreeze", lambda *_, **__: None)
    with pytest.raises(DivergedError, match=r"finite validation loss, .* in config\.py$"):
        fit(tmp_path, model=tiny_model(), data=one_step_data(), phases=phases, **CONSTANT)


def test_weights_of_nan_stop_training_though_the_losses_are_finite():
    model = tiny_model()
    weights = model.get_weights()
    weights[0][0] = np.nan
    model.set_weights(weights)
    schedule = OptimizerSettings(**CONSTANT).build_schedule(0.1, total_steps=4, first_step=0)
    callback = StopAtNaN(schedule, Phase("train", 2, 0.1), steps_before=0)
    callback.set_model(model)
    callback.set_params({"steps": 2})
    callback.on_epoch_begin(1)
    with pytest.raises(DivergedError, match=r"^expected finite weights, .* \(epoch 2\)"):
        callback.on_epoch_end(1, {"loss": 0.5, "val_loss": 0.5})
