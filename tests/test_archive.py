"""Files that were not written by this project are refused before Keras loads them."""

import json
import re
import zipfile
from dataclasses import asdict
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from refused import refusal

from models.archive import check_archive
from models.bundle import ClassProbabilities, save_model
from models.description import Description
from models.factory import build_model

pytestmark = pytest.mark.usefixtures("shallow_baseline")


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


def write_of_tomorrow(source: Path, target: Path, version: object) -> Path:
    """Copy a model file with an argument that Keras does not know, and a version of Keras."""

    def add_argument(config):
        config["config"]["layers"][1]["config"]["argument_of_tomorrow"] = 1
        return config

    return rewrite(
        source,
        target,
        config=add_argument,
        metadata=lambda metadata: {**metadata, "keras_version": version},
    )


def weights_file(tmp_path, change) -> bytes:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        change(file)
    return (tmp_path / "weights.h5").read_bytes()


def test_a_good_file_passes_and_names_its_keras_version(saved):
    config, version = check_archive(saved)
    assert (config["class_name"], version) == ("Sequential", keras.__version__)


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
        ("layers.StringLookup", "keras"),
        ("IndexLookup", "keras.src.layers.preprocessing.index_lookup"),
        ("Embedding", "keras.layers"),
        ("ClassProbabilities", "elsewhere"),
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
        module = "keras_hub.src.models.deit.deit_backbone"
        layer = {"class_name": "DeiTBackbone", "module": module, "config": {}}
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


@pytest.mark.slow
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


def of_class(config, name: str) -> dict:
    """Return the arguments of the first layer of a class."""
    return next(
        layer["config"] for layer in config["config"]["layers"] if layer["class_name"] == name
    )


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"),
    [
        (
            "Dense",
            "units",
            1 << 28,
            "expected at most 1,073,741,824 bytes of weights, received 9",
        ),
        ("ZeroPadding2D", "padding", [[0, 20_000], [0, 20_000]], "outputs of a layer per image"),
        ("Conv2D", "filters", 2_000_000_000, "Keras .* cannot load the model"),
    ],
)
def test_a_small_file_of_a_model_of_gigabytes_is_refused_before_it_is_built(
    tmp_path, monkeypatch, name, argument, value, message
):
    network = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.ZeroPadding2D(1),
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, name="logits"),
            ClassProbabilities(asdict(Description("tiny", ("a", "b"), 32))),
        ]
    )
    save_model(network, tmp_path / "good.keras")

    def enlarge(config):
        of_class(config, name)[argument] = value
        return config

    bad = rewrite(tmp_path / "good.keras", tmp_path / "bad.keras", config=enlarge)
    monkeypatch.setattr("keras.saving.load_model", lambda *_, **__: pytest.fail("it was built"))
    assert re.search(message, refusal(bad))
    # Keras would fill them with values whenever it next builds a layer.
    assert not global_state.get_global_attribute("uninitialized_variables")


def test_a_file_of_another_keras_names_the_version_to_install(saved, tmp_path):
    bad = write_of_tomorrow(saved, tmp_path / "bad.keras", "9.9.9")
    assert refusal(bad).endswith("it was written by Keras 9.9.9: pip install keras==9.9.9")


def test_a_class_in_a_nested_compile_config_is_refused(saved, tmp_path):
    def compile_it(config):
        optimizer = {"class_name": "Adam", "module": "keras.optimizers", "config": {}}
        config["config"]["layers"][1]["compile_config"] = {"optimizer": optimizer}
        return config

    message = refusal(rewrite(saved, tmp_path / "bad.keras", config=compile_it))
    assert "received Adam from keras.optimizers" in message


def test_groups_of_weights_that_contain_each_other_are_looked_at_once(saved, tmp_path):
    def fan_out(file):
        group = file.create_group("g0")
        for _ in range(40):  # 2^40 paths
            lower = group.create_group("a")
            group["b"] = lower
            group = lower
        group.create_dataset("v", (4,), "f4")
        group["up"] = file["g0"]

    content = weights_file(tmp_path, fan_out)
    assert "Keras" in refusal(rewrite(saved, tmp_path / "bad.keras", model=content))


def test_json_that_is_nested_or_large_beyond_measure_is_one_line(saved, tmp_path):
    def replace(name: str, content: bytes):
        bad = tmp_path / "bad.keras"
        with (
            zipfile.ZipFile(saved) as old,
            zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for member in old.namelist():
                new.writestr(member, content if member == name else old.read(member))
        return refusal(bad)

    for name in ("config.json", "metadata.json"):
        assert "nested too deeply" in replace(name, b"[" * 100_000)
        large = replace(name, b" " * (1 << 24) + b"{}")
        assert f"expected at most 16,777,216 bytes in {name}, received 16,777,218" in large


@pytest.mark.parametrize("version", ["9.9; rm -rf ~", "\u001b[31m9.9", "9" * 50, ["9"], "\u0669.9"])
def test_a_version_that_is_none_is_not_part_of_a_command(saved, tmp_path, version):
    bad = write_of_tomorrow(saved, tmp_path / "bad.keras", version)
    message = refusal(bad)
    assert "pip install" not in message
    assert message.endswith("use a model file that train.py wrote")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 10**400),
        ("class_names", [["a"], ["b"]]),
        ("class_names", ["a", "/../../x"]),
        ("class_names", ["a", "b\\c"]),
        ("class_names", ["a", "\u001b[31mred"]),
        ("model", "x" * 1000),
    ],
)
def test_a_description_is_checked_before_keras_builds_from_it(
    saved, tmp_path, monkeypatch, name, value
):
    def change(config):
        config["config"]["layers"][-1]["config"]["description"][name] = value
        return config

    monkeypatch.setattr("keras.saving.load_model", None)
    message = refusal(rewrite(saved, tmp_path / "bad.keras", config=change))
    assert f"as {name} in its description" in message
