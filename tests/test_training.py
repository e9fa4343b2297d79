import csv

import keras
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from data.augmentation import build_augmentation
from data.pipeline import make_dataset
from models import build_model
from models.bundle import ClassProbabilities, get_description, load_model
from models.progress import format_seconds
from models.schedules import learning_rate_at
from models.training import AdjustedCrossentropy, BalancedAccuracy, Phase, train_model

CLASSES = ("dark", "bright")
COUNT, STEPS = 16, 2


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    images = rng.integers(0, 100, (COUNT, 32, 32, 3)) + 150 * labels[:, None, None, None]
    return images.astype(np.uint8), np.eye(2, dtype=np.float32)[labels]


def fit(run_dir, *, model=None, phases=None, seed=0, steps=STEPS, **options):
    images, targets = data()
    keras.utils.set_random_seed(seed)
    model = model or build_model("sequential", image_size=32, class_names=CLASSES)
    augmentation = build_augmentation(image_size=32, rotation_degrees=180, brightness=0.05)

    def training_data(side, first_epoch):
        return make_dataset(
            images,
            targets,
            batch_size=COUNT // STEPS,
            augmentation=augmentation,
            seed=seed,
            first_epoch=first_epoch,
        )

    result = train_model(
        model,
        training_data,
        lambda side: make_dataset(images, targets, batch_size=8),
        phases=phases or [Phase("train", 3, 1e-3)],
        steps_per_epoch=steps,
        run_dir=run_dir,
        seed=seed,
        **options,
    )
    return model, result


def test_cross_entropy_without_offsets_is_the_usual_one():
    y_true = np.eye(3, dtype=np.float32)[[0, 2]]
    y_prob = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], np.float32)
    loss = AdjustedCrossentropy(np.zeros(3), 0.0)
    assert float(loss(y_true, y_prob)) == pytest.approx(np.mean(-np.log([0.5, 0.1])), rel=1e-5)
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    mine = AdjustedCrossentropy(np.zeros(3), 0.1)
    assert float(mine(y_true, y_prob)) == pytest.approx(float(smoothed(y_true, y_prob)), rel=1e-5)


def test_offsets_change_the_odds_before_the_cross_entropy():
    # Probabilities 1/2 and 1/2 with offsets log 3 and log 1 are judged as 3/4 and 1/4.
    loss = AdjustedCrossentropy(np.log([3.0, 1.0]), 0.0)
    y_prob = np.array([[0.5, 0.5]], np.float32)
    for label, judged in ((0, 0.75), (1, 0.25)):
        y_true = np.eye(2, dtype=np.float32)[[label]]
        assert float(loss(y_true, y_prob)) == pytest.approx(-np.log(judged), rel=1e-5)


def test_offsets_by_class_share_raise_the_rare_class():
    """A model that sees nothing but class shares learns shares without the offset's part."""
    shares = np.array([0.8, 0.2])
    answers = {}
    for strength in (0.0, 1.0):
        inputs = keras.Input((1,))
        logits = keras.layers.Dense(2)(inputs)
        model = keras.Model(inputs, keras.layers.Softmax()(logits))
        loss = AdjustedCrossentropy(strength * np.log(shares), 0.0)
        model.compile(keras.optimizers.Adam(0.05), loss=loss)
        labels = np.repeat([0, 1], [80, 20])
        model.fit(np.ones((100, 1)), np.eye(2)[labels], batch_size=100, epochs=200, verbose=0)
        answers[strength] = model.predict_on_batch(np.ones((1, 1)))[0]
    assert answers[0.0] == pytest.approx([0.8, 0.2], abs=0.01)
    assert answers[1.0] == pytest.approx([0.5, 0.5], abs=0.01)


def test_writes_history_and_the_best_epoch(tmp_path):
    _, result = fit(tmp_path, monitor="loss")
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["val_loss"]) == result.history[2]["val_loss"]
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    model = load_model(tmp_path / "model.keras")
    images, targets = data()
    model.compile(loss="categorical_crossentropy")
    assert model.evaluate(images, targets, verbose=0) == pytest.approx(min(losses), rel=1e-4)
    # The third is what `--resume` goes on from, no half-written file beside them.
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"history.csv", "model.keras", "resume.npz"}


def test_the_same_seed_gives_the_same_history_and_weights(tmp_path):
    runs = {}
    for name, seed in (("one", 4), ("two", 4), ("other", 5)):
        (tmp_path / name).mkdir()
        model, _ = fit(tmp_path / name, seed=seed)
        history = (tmp_path / name / "history.csv").read_bytes()
        runs[name] = history, np.concatenate([w.ravel() for w in model.get_weights()])
    assert runs["one"][0] == runs["two"][0]
    assert (runs["one"][1] == runs["two"][1]).all()
    assert runs["one"][0] != runs["other"][0]


def test_phases_follow_each_other_with_their_own_rates_and_layers(tmp_path):
    model = build_model("mobilenet", image_size=32, class_names=CLASSES)
    backbone = model.get_layer("backbone")
    first, last = backbone.get_layer("Conv1"), backbone.get_layer("Conv_1")
    before = [layer.get_weights()[0] for layer in (first, last)]
    phases = [Phase("head", 1, 1e-2, 0), Phase("fine-tune", 2, 1e-3, 10)]
    _, result = fit(tmp_path, model=model, phases=phases)
    assert [row["phase"] for row in result.history] == ["head", "fine-tune", "fine-tune"]
    after = [layer.get_weights()[0] for layer in (first, last)]
    assert (before[0] == after[0]).all()
    assert not (before[1] == after[1]).all()
    expected = float(
        learning_rate_at(4, schedule="cosine", peak=1e-3, total_steps=4, warmup_steps=0)
    )
    assert result.history[2]["learning_rate"] == pytest.approx(expected, abs=1e-9)


def test_a_phase_that_continues_goes_on_along_the_schedule_of_the_one_before(tmp_path):
    whole = [Phase("head", 1, 1e-3), Phase("train", 3, 1e-3)]
    parts = [
        whole[0],
        Phase("one", 1, 1e-3),
        Phase("two", 1, 1e-3, continues=True),
        Phase("three", 1, 1e-3, continues=True),
    ]
    rates = []
    for phases in (whole, parts):
        _, result = fit(tmp_path, phases=phases, warmup_share=0.5)
        rates.append([row["learning_rate"] for row in result.history])
    assert rates[0] == rates[1]
    assert len(set(rates[0][1:])) == 3


def test_a_phase_on_small_pictures_hands_its_weights_on(tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(2, name="logits")(keras.layers.GlobalMaxPooling2D()(x))
    description = {"model": "tiny", "class_names": CLASSES, "image_size": 16}
    model = keras.Model(inputs, ClassProbabilities(description)(x))
    images, targets = data()
    sides = []

    def batches(side, first_epoch=None):
        sides.append(side)
        augmentation = None if first_epoch is None else (lambda batch, seed, step: batch)
        pictures = images[:, :side, :side]
        return make_dataset(pictures, targets, batch_size=8, augmentation=augmentation)

    # Nothing learns at the full size: what is there comes from the small pictures.
    phases = [Phase("small", 1, 1e-2, image_size=8), Phase("full", 1, 0.0, image_size=16)]
    before = model.get_weights()
    result = train_model(
        model, batches, batches, phases=phases, steps_per_epoch=2, run_dir=tmp_path
    )
    assert sides == [8, 8, 16, 16]
    kept = load_model(tmp_path / "model.keras")
    assert get_description(kept).image_size == phases[result.best_epoch - 1].image_size
    for old, new, saved in zip(before, model.get_weights(), kept.get_weights(), strict=True):
        assert not np.allclose(old, new)
        assert np.allclose(new, saved, atol=1e-7)


def test_stops_early_and_keeps_the_best(tmp_path):
    # With a rate of nothing no epoch is better than the first.
    phases = [Phase("head", 9, 0.0, backbone_layers=0)]
    model = build_model("mobilenet", image_size=32, class_names=CLASSES)
    _, result = fit(tmp_path, model=model, phases=phases, patience=2)
    assert len(result.history) == 3
    assert (result.best_epoch, result.stopped_early) == (1, True)


def test_the_kept_weights_are_averages_over_the_steps(tmp_path):
    def kept_weights(steps, average_steps):
        phases = [Phase("train", 1, 1e-2)]
        options = {"lr_schedule": "constant", "average_steps": average_steps, "warmup_share": 0.0}
        fit(tmp_path, steps=steps, phases=phases, **options)
        model = load_model(tmp_path / "model.keras")
        return np.concatenate([np.ravel(v.numpy()) for v in model.trainable_variables])

    first, second = kept_weights(1, 0.0), kept_weights(2, 0.0)
    assert np.abs(first - second).max() > 1e-3
    assert np.allclose(kept_weights(2, 4.0), 0.75 * first + 0.25 * second, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": [Phase("train", 0, 1e-3)]}, "at least one epoch"),
        ({"monitor": "accuracy"}, "monitor should be one of"),
    ],
)
def test_impossible_orders_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, **options)


def test_balanced_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.choice([0, 1, 3], 50, p=[0.8, 0.1, 0.1]), rng.random((50, 4))
    metric = BalancedAccuracy(4)
    for part in (slice(0, 20), slice(20, 50)):
        metric.update_state(np.eye(4)[y_true[part]], y_prob[part])
    y_pred = y_prob.argmax(axis=1)
    recalls = [(y_pred[y_true == c] == c).mean() for c in (0, 1, 3)]
    assert float(metric.result()) == pytest.approx(np.mean(recalls))
    kept = np.isin(y_pred, (0, 1, 3))
    metric.reset_state()
    metric.update_state(np.eye(4)[y_true[kept]], y_prob[kept])
    assert float(metric.result()) == pytest.approx(
        balanced_accuracy_score(y_true[kept], y_pred[kept])
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(48.4, "48 s"), (99, "99 s"), (720, "12 min"), (3900, "1 h 05 min")]
)
def test_durations_read_well(seconds, text):
    assert format_seconds(seconds) == text
