"""ImageNet weights: from the cache, from the network, or one line that says what to do."""

import http.client
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from models import ModelError, WeightsUnavailableError, transfer, weights
from models.backbones import BACKBONES
from models.factory import build_model
from models.transfer import BACKBONE


def build(name: str, **options) -> keras.Model:
    return build_model(name, image_size=32, class_names=("a", "b", "c"), **options)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_unavailable_weights_say_in_one_line_what_to_do(name, monkeypatch):
    sites = []
    monkeypatch.setattr(weights, "_is_reachable", lambda site: sites.append(site))
    monkeypatch.setattr(
        weights.keras.utils, "get_file", lambda *args, **kwargs: pytest.fail("tried to download")
    )
    # The weights are requested for any network; this one is built at once.
    monkeypatch.setattr(
        transfer, "_build_network", lambda entry, size: keras.Sequential([keras.Input((4,))])
    )
    with pytest.raises(WeightsUnavailableError) as caught:
        build(name, weights="imagenet")
    message = str(caught.value)
    url, file_name = BACKBONES[name].find_weights(32)
    assert "\n" not in message
    assert message.endswith("or start from a weights file of your own or from random weights")
    if url is None:
        assert f"; run {BACKBONES[name].weights_commands}, or start" in message
        assert sites == []
    else:
        assert f"download {url} to " in message
        assert file_name in message
        assert message.count(sites[0]) == 2


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("no space\nleft")

    monkeypatch.setattr(weights, "_is_reachable", lambda site: True)
    monkeypatch.setattr(weights.keras.utils, "get_file", fail)
    with pytest.raises(WeightsUnavailableError, match="not be downloaded: no space; download"):
        build("mobilenet", weights="imagenet")


def test_weights_are_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_is_reachable", lambda site: pytest.fail("used the network"))
    source = build("mobilenet").get_layer(BACKBONE)
    # save_weights insists on this ending.
    saved = tmp_path / "saved.weights.h5"
    source.save_weights(saved)
    cached = weights.cached_path(BACKBONES["mobilenet"].find_weights(32)[1])
    cached.parent.mkdir()
    saved.rename(cached)
    # Read as a file of the older format that the name stands for.
    with pytest.raises(WeightsUnavailableError, match="delete the file"):
        build("mobilenet", weights="imagenet")


@pytest.mark.filterwarnings("error")  # such as that of a thread with an exception
@pytest.mark.parametrize(
    "error", [OSError("no route"), http.client.BadStatusLine("x"), ValueError("port")]
)
def test_a_site_that_does_not_respond_is_not_reachable(monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(weights.urllib.request, "urlopen", refuse)
    assert not weights._is_reachable("https://nowhere.invalid/")


def network(*units: int) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(n) for n in units)])


def write_nan(path: Path) -> None:
    wrong = network(3)
    wrong.set_weights([np.full_like(weights, np.nan) for weights in wrong.get_weights()])
    wrong.save_weights(path)


def write_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")


WANTED = "expected weights of Tiny without its head"


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.keras", lambda path: network(3).save(path), f"{WANTED} .*received a whole model; use"),
        ("a.weights.h5", lambda path: network(3, 2, 5).save_weights(path), None),
        ("a.weights.h5", lambda path: network(4).save_weights(path), f"{WANTED}, received other"),
        ("a.h5", lambda path: path.write_text("text"), f"{WANTED} .*received another format"),
        ("a.pt", lambda path: path.write_bytes(b"PK"), f"{WANTED} .*received another format"),
        ("a.h5", lambda path: None, "expected imagenet or a weights file, found no file"),
        ("a.h5", lambda path: path.mkdir(), "expected imagenet or a weights file, found no file"),
        ("a.weights.h5", write_nan, "the weights contain NaN or infinity"),
        ("a.weights.h5", write_link, "stored elsewhere; use a file of weights alone"),
    ],
)
def test_a_file_of_other_weights_is_one_line_without_warnings(
    tmp_path, recwarn, name, write, message
):
    path = tmp_path / name
    write(path)
    recwarn.clear()
    if message is None:  # layers beyond those of the network, such as a head
        weights.load_weights(network(3), path, "Tiny")
        return
    assert message_of(path, message).count("\n") == 0
    assert not recwarn.list


def message_of(path: Path, message: str) -> str:
    with pytest.raises(ModelError, match=message) as caught:
        weights.load_weights(network(3), path, "Tiny")
    return str(caught.value)


def test_truncated_weights_are_damaged(tmp_path):
    path = tmp_path / "a.weights.h5"
    network(3).save_weights(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in message_of(path, "the file is damaged: .*truncated")


def test_a_download_goes_to_the_cache_of_keras_although_keras_was_imported_without_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(weights, "_is_reachable", lambda site: True)

    def get_file(name, url, *, cache_dir, cache_subdir):
        assert (tmp_path / "home/models").is_dir()  # else Keras takes another folder
        return f"{cache_dir}/{cache_subdir}/{name}"

    monkeypatch.setattr(weights.keras.utils, "get_file", get_file)
    path = weights.fetch_weights("https://nowhere.invalid/a.h5", "a.h5")
    assert path == weights.cached_path("a.h5")
