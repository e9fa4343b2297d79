"""Intact files of every kind that `benchmarks.fuzz` damages."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from config import BUNDLED_MODEL

# The file that a server should send.
BODY = bytes(range(256)) * 40
# Orientation, description and resolution.
_EXIF_TAGS = {0x0112: 6, 0x010E: "a mole, on the back", 0x011A: 72.0}


def intact_files(folder: Path, seed: int) -> dict[str, list[bytes]]:
    """Make intact files of each kind, from the synthetic sample data set."""
    from data.images import load_pixels
    from data.sample import write_sample_dataset

    root = write_sample_dataset(folder / "sample", images_per_class=2, seed=seed)
    images = sorted(root.glob("**/*.jpg"))[:4]
    pixels = [load_pixels(path)[:96, :128] for path in images]
    return {
        "jpeg": [path.read_bytes() for path in images],
        "png": _png_files([load_pixels(path) for path in images]),
        "tiff": _tiff_files(pixels[0]),
        "exif": _exif_files(pixels[0]),
        "table": [next(root.glob("*.csv")).read_bytes()],
        "model": [Path(BUNDLED_MODEL).read_bytes()],
        "tflite": _tflite_files(folder),
        "weights": _weights_files(folder),
        "run_folder": _run_folders(folder),
        "http": _responses(),
    }


def _save(image: object, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png_files(arrays: list[np.ndarray]) -> list[bytes]:
    from PIL import Image

    files = []
    for pixels, mode in zip(arrays, ("RGB", "RGBA", "P", "I;16"), strict=True):
        image = Image.fromarray(pixels)
        files.append(_save(image.convert("L" if mode == "I;16" else mode).convert(mode), "PNG"))
    return files


def _tiff_files(pixels: np.ndarray) -> list[bytes]:
    """Return TIFF files of several depths and compressions."""
    from PIL import Image

    gray = pixels[..., 0]
    deep = (gray.astype(np.uint16) * 257, gray.astype(np.int32), gray.astype(np.float32) / 255)
    color = Image.fromarray(pixels)
    methods = ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    return [
        _save(color, "TIFF"),
        _save(color, "TIFF", exif=_exif()),
        *(_save(Image.fromarray(array), "TIFF") for array in deep),
        *(_save(color, "TIFF", compression=method) for method in methods),
    ]


def _exif_files(pixels: np.ndarray) -> list[bytes]:
    """Return JPEG, PNG and WebP files with an EXIF block."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return [_save(image, kind, exif=_exif()) for kind in ("JPEG", "PNG", "WEBP")]


def _exif() -> object:
    from PIL import Image

    exif = Image.Exif()
    exif.update(_EXIF_TAGS)
    return exif


def _tflite_files(folder: Path) -> list[bytes]:
    """Return small models with the operations of all backbones, in several number formats."""
    from models.backend import start_tensorflow

    start_tensorflow()

    import keras

    from models.bundle import ClassProbabilities
    from models.tflite_conversion import convert_to_tflite

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu6")(layers.Rescaling(1 / 255)(inputs))
    y = layers.DepthwiseConv2D(3, padding="same")(layers.ZeroPadding2D(1)(x))
    y = layers.MaxPooling2D(2)(layers.BatchNormalization()(y))
    scale = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = layers.Conv2D(8, 1)(layers.Multiply()([y, scale]))
    x = layers.GlobalAveragePooling2D()(layers.Add()([y, layers.Activation("silu")(y)]))
    logits = layers.Dense(3, name="logits")(x)
    description = {"model": "tiny", "class_names": ("a", "b", "c"), "image_size": 32}
    model = keras.Model(inputs, ClassProbabilities(description)(logits))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    path = folder / "intact.tflite"
    files = []
    for kind in ("float32", "float16", "int8"):
        convert_to_tflite(model, path, quantize=kind, images=images)
        files.append(path.read_bytes())
    return files


def build_network() -> object:
    """Return the network whose weights are damaged."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="dense"),
        ],
        name="tiny",
    )


def _weights_files(folder: Path) -> list[bytes]:
    """Return the weights of a small network, as Keras 3 and as Keras 2 write them."""
    import h5py

    network, path = build_network(), folder / "intact.weights.h5"
    network.save_weights(path)
    older = io.BytesIO()
    with h5py.File(older, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0" for variable in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, layer.weights, strict=True):
                group[name] = variable.numpy()
    return [path.read_bytes(), older.getvalue()]


def _run_folders(folder: Path) -> list[bytes]:
    """Return an interrupted run, as a zip archive."""
    import keras

    from training.checkpoint import save_checkpoint
    from training.origin import IMAGE_FACTS
    from training.run import Run
    from training.settings import build_train_config

    run = Run(folder / "run")
    images = {f"image{i}": ["train", "nv", f"lesion{i}", 7 + i] for i in range(8)}
    assert len(images["image0"]) == len(IMAGE_FACTS)
    run.start(build_train_config({}), images, lambda path: path.write_text("image,split\n"))
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile("adam", "mse")
    network.optimizer.build(network.trainable_variables)
    metrics = ("loss", "accuracy", "balanced_accuracy")
    row = {"phase": "all", "epoch": 1, "learning_rate": 1e-3}
    row |= {prefix + name: 0.5 for name in metrics for prefix in ("", "val_")}
    save_checkpoint(run.checkpoint, network, [row])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in (run.config, run.origin, run.checkpoint):
            # A name alone would add the current time to the file.
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return [buffer.getvalue()]


def _responses() -> list[bytes]:
    """Return responses of a server: to a download, to its rest, to a busy or moved one."""
    length = f"Content-Length: {len(BODY)}\r\n"
    rest = f"Content-Range: bytes 0-{len(BODY) - 1}/{len(BODY)}\r\n"
    heads = (
        f"200 OK\r\n{length}",
        f"206 Partial Content\r\n{rest}{length}",
        "503 Service Unavailable\r\nRetry-After: 3\r\n",
        "302 Found\r\nLocation: /elsewhere\r\n",
        "404 Not Found\r\n",
    )
    return [f"HTTP/1.1 {head}\r\n".encode() + BODY for head in heads]
