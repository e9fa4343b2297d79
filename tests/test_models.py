import keras
import numpy as np
import pytest

from models import ModelError, WeightsUnavailableError, build_model, weights
from models.bundle import get_description
from models.transfer import BACKBONE, at_size, unfreeze

CLASSES = ("a", "b", "c")


def build(name: str, **options) -> keras.Model:
    return build_model(name, image_size=32, class_names=CLASSES, **options)


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_gives_probabilities_for_raw_pixels_and_describes_itself(name):
    model = build(name)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    y_prob = model.predict_on_batch(images)
    assert y_prob.shape == (4, 3)
    assert np.allclose(y_prob.sum(axis=1), 1, atol=1e-5)
    description = get_description(model)
    assert (description.model, description.class_names) == (name, CLASSES)
    assert (description.image_size, description.temperature) == (32, 1.0)


def test_the_baseline_is_sequential_and_small():
    model = build_model("sequential", image_size=96, class_names=tuple("abcdefg"))
    assert isinstance(model, keras.Sequential)
    assert model.count_params() < 2_000_000


def test_another_size_has_the_same_weights_and_says_its_size():
    model = build_model("mobilenet", image_size=64, class_names=CLASSES)
    small = at_size(model, 32)
    assert get_description(small).image_size == 32
    assert get_description(model).image_size == 64
    for one, other in zip(model.get_weights(), small.get_weights(), strict=True):
        assert (one == other).all()
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    built = build("mobilenet")
    built.set_weights(model.get_weights())
    assert np.allclose(small.predict_on_batch(images), built.predict_on_batch(images), atol=1e-6)


def test_unfreeze_counts_from_the_end_and_keeps_batch_norm_still():
    model = build("mobilenet")
    backbone = model.get_layer(BACKBONE)
    learning = {}
    for count in (0, 20, -1):
        unfreeze(model, count)
        learning[count] = [layer.name for layer in backbone.layers if layer.trainable_weights]
    assert learning[0] == []
    assert set(learning[20]) < set(learning[-1])
    assert set(learning[20]) <= {layer.name for layer in backbone.layers[-20:]}
    assert "Conv1" in learning[-1]
    assert not any(
        isinstance(backbone.get_layer(name), keras.layers.BatchNormalization)
        for name in learning[-1]
    )
    assert model.get_layer("logits").trainable
    unfreeze(model, -1, batch_norm_trains=True)
    assert backbone.get_layer("bn_Conv1").trainable


def test_batch_norm_stays_as_it_came_although_fit_trains_the_backbone():
    model = build("mobilenet")
    norm = model.get_layer(BACKBONE).get_layer("Conv_1_bn")
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
    unfreeze(model, -1)
    model.compile("adam", "categorical_crossentropy")
    before = [keras.ops.convert_to_numpy(weight) for weight in norm.weights]
    model.fit(images, np.eye(3)[np.arange(8) % 3], verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in norm.weights]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_unfreezing_more_layers_than_there_are_is_refused():
    with pytest.raises(ModelError, match="has 154 layers"):
        unfreeze(build("mobilenet"), 1000)


def test_batch_norm_momentum_is_set_in_the_backbone():
    backbone = build("mobilenet", batch_norm_momentum=0.9).get_layer(BACKBONE)
    assert backbone.get_layer("bn_Conv1").momentum == 0.9


def test_unknown_model_and_imagenet_for_the_baseline_are_refused():
    with pytest.raises(ModelError, match="choose from sequential, mobilenet"):
        build("resnet")
    with pytest.raises(ModelError, match="starts from random weights"):
        build("sequential", weights="imagenet")


def test_weights_file_is_loaded_and_a_wrong_one_refused(tmp_path):
    source = build("mobilenet").get_layer(BACKBONE)
    source.save_weights(tmp_path / "backbone.weights.h5")
    model = build("mobilenet", weights=str(tmp_path / "backbone.weights.h5"))
    for mine, theirs in zip(
        model.get_layer(BACKBONE).get_weights(), source.get_weights(), strict=True
    ):
        assert (mine == theirs).all()
    with pytest.raises(ModelError, match="found no file"):
        build("mobilenet", weights=str(tmp_path / "nothing.h5"))
    (tmp_path / "bad.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="should hold MobileNetV2 weights"):
        build("mobilenet", weights=str(tmp_path / "bad.weights.h5"))


def test_imagenet_weights_without_network_say_what_to_do(monkeypatch):
    monkeypatch.setattr(weights, "_site_answers", lambda site: False)
    with pytest.raises(WeightsUnavailableError, match="--weights none"):
        build("mobilenet", weights="imagenet")


def test_imagenet_weights_are_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_site_answers", lambda site: pytest.fail("asked the network"))
    source = build("mobilenet").get_layer(BACKBONE)
    (tmp_path / "models").mkdir()
    source.save_weights(tmp_path / "models" / "saved.weights.h5")
    cached = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    (tmp_path / "models" / "saved.weights.h5").rename(tmp_path / "models" / cached)
    with pytest.raises(WeightsUnavailableError, match="delete it"):
        build("mobilenet", weights="imagenet")


def test_a_site_that_does_not_answer_is_given_up(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(weights.urllib.request, "urlopen", refuse)
    assert not weights._site_answers("https://nowhere.invalid/")
