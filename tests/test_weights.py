"""ImageNet weights: from the cache, from the network, or one line that says what to do."""

import keras
import pytest

from models import WeightsUnavailableError, transfer, weights
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
    assert f"download {url} to " in message
    assert file_name in message
    assert message.endswith("or start from a weights file of your own or from random weights")
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


def test_a_site_that_does_not_respond_is_not_reachable(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(weights.urllib.request, "urlopen", refuse)
    assert not weights._is_reachable("https://nowhere.invalid/")
