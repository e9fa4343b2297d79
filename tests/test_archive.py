"""Files that were not written by this project are refused before Keras loads them."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from refused import refusal

from models.archive import check_archive
from models.bundle import save_model
from models.factory import build_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "good.keras"
    save_model(build_model("sequential", image_size=32, class_names=("a", "b")), path)
    return path


def rewrite(source: Path, target: Path, **members) -> Path:
    """Copy a model file with other content of some members: bytes, or a function of the JSON."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content, change = old.read(name), members.get(name.split(".")[0])
            if callable(change):
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content if change is None or callable(change) else change)
    return target


def weights_file(tmp_path, change) -> bytes:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        change(file)
    return (tmp_path / "weights.h5").read_bytes()


def test_a_good_file_passes_and_names_its_keras_version(saved):
    assert check_archive(saved) == keras.__version__


def test_a_file_of_another_format_or_damaged_is_refused(saved, tmp_path):
    content = saved.read_bytes()
    bad = tmp_path / "bad.keras"
    with h5py.File(bad, "w") as file:
        file["weights"] = np.zeros(3)
    assert "another format" in refusal(bad)
    bad.write_bytes(content[: len(content) // 2])
    assert "another format" in refusal(bad)
    bad.write_bytes(content[:3000] + b"\0\0\0" + content[3003:])
    assert "the file is damaged" in refusal(bad)
    assert "the file is damaged" in refusal(rewrite(saved, bad, config=b"{"))
    assert "the file is damaged" in refusal(rewrite(saved, bad, model=b"no table"))


def test_missing_or_additional_members_are_refused(saved, tmp_path):
    bad = tmp_path / "bad.keras"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "received config.json; use a model file that train.py wrote" in refusal(bad)
    with zipfile.ZipFile(rewrite(saved, bad), "a") as archive:
        archive.writestr("assets/more.txt", "")
    assert "received assets/more.txt, config.json, metadata.json, model.weights.h5" in refusal(bad)
    rewrite(saved, bad)
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(bad, "a") as archive,
    ):
        archive.writestr("config.json", "{}")
    assert "received config.json, config.json, metadata.json" in refusal(bad)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("Lambda", "keras.layers"),
        ("TFSMLayer", "keras.layers"),
        ("system", "os"),
        ("Popen", "subprocess"),
        ("Backbone", "keras_hub.src.models.backbone"),
        ("DeiTBackbone", "keras_hub.models"),
    ],
)
def test_classes_that_could_run_code_are_refused(saved, tmp_path, name, module):
    def add(config):
        layer = {"class_name": name, "module": module, "config": {}, "registered_name": None}
        config["config"]["layers"].insert(1, layer)
        return config

    message = refusal(rewrite(saved, tmp_path / "bad.keras", config=add))
    assert f"received {name} from {module}, which could run code or read other files" in message


def test_a_class_under_the_name_of_another_is_refused(saved, tmp_path):
    def disguise(config):
        layer = {"class_name": "DeiTBackbone", "module": "keras.layers", "config": {}}
        layer["registered_name"] = "keras_hub>Backbone"
        config["config"]["layers"].insert(1, layer)
        return config

    message = refusal(rewrite(saved, tmp_path / "bad.keras", config=disguise))
    assert "received Backbone from keras_hub>Backbone" in message


def test_weights_stored_in_other_files_are_refused(saved, tmp_path):
    def link(file):
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")

    def dangle(file):
        file.create_group("layers")["v"] = h5py.SoftLink("/elsewhere")

    def outside(file):
        file.create_dataset("v", (4,), "f4", external=[(str(tmp_path / "other"), 0, 16)])

    for change in (link, dangle, outside):
        content = weights_file(tmp_path, change)
        message = refusal(rewrite(saved, tmp_path / "bad.keras", model=content))
        assert "expected weights inside the file" in message


def test_decompression_bombs_are_refused_before_they_expand(saved, tmp_path):
    bad = tmp_path / "bad.keras"
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(1100):
                member.write(bytes(1 << 20))
    assert bad.stat().st_size < 2 << 20
    assert "after decompression, received 1,153,433,604" in refusal(bad)

    def inflate(file):
        file.create_dataset("v", (1 << 29,), "f4", chunks=(1 << 20,), compression="gzip")

    content = weights_file(tmp_path, inflate)
    message = refusal(rewrite(saved, bad, model=content))
    assert "bytes of weights, received 2,147,483,648 or more" in message


def test_a_file_of_another_keras_names_the_version_to_install(saved, tmp_path):
    def rename(config):
        config["config"]["layers"][1]["class_name"] = "LayerOfTomorrow"
        return config

    bad = rewrite(
        saved,
        tmp_path / "bad.keras",
        config=rename,
        metadata=lambda metadata: {**metadata, "keras_version": "9.9.9"},
    )
    assert refusal(bad).endswith("it was written by Keras 9.9.9: pip install keras==9.9.9")
