"""Intact files of every kind that `benchmarks.fuzz` tries, and ways to damage them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from config import BUNDLED_MODEL

FIELDS = ("", "nan", "-1", "1e999", "\x00", '"', "'", "../../etc/passwd", "ä皮", "x" * 70_000, ",")
_NUMBERS = (0, 1, -1, 2, 3, 127, 255, 1 << 16, 1 << 30, -(1 << 31), (1 << 31) - 1)
_EXIF = b"Exif\0\0"
_ORIENTATION, _DESCRIPTION, _RESOLUTION = 0x0112, 0x010E, 0x011A


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes one to eight times: flip, replace, delete, repeat, blank, cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if not data:
            break
        start = int(rng.integers(len(data)))
        stop = min(len(data), start + int(2 ** rng.uniform(0, 12)))
        change = rng.integers(6)
        if change == 0:
            data[start] ^= 1 << int(rng.integers(8))
        elif change == 1:
            data[start:stop] = rng.bytes(stop - start)
        elif change == 2:
            del data[start:stop]
        elif change == 3:
            data[start:start] = data[start:stop]
        elif change == 4:
            data[start:stop] = bytes([rng.choice([0, 255])]) * (stop - start)
        elif rng.random() < 0.3:
            del data[start:]
    return bytes(data)


def damage_values(content: bytes, rng: np.random.Generator) -> bytes:
    """Change one to four bytes or 32-bit numbers in place, as offsets and sizes are stored."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        start = int(rng.integers(max(1, len(data) - 4)))
        if rng.random() < 0.5:
            data[start : start + 1] = rng.bytes(1)
        else:
            start -= start % 4
            number = _NUMBERS[rng.integers(len(_NUMBERS))] & 0xFFFFFFFF
            data[start : start + 4] = number.to_bytes(4, "little")
    return bytes(data)


def damage_tiff(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes anywhere, or values in the header and the directory at either end."""
    if rng.random() < 0.3:
        return damage(content, rng)
    # Most bytes are pixels; the directory is at the end or right behind the header.
    edge = min(len(content), 256)
    if rng.random() < 0.5:
        return damage_values(content[:edge], rng) + content[edge:]
    return content[:-edge] + damage_values(content[-edge:], rng)


def damage_exif(content: bytes, rng: np.random.Generator) -> bytes:
    """Change the EXIF block of an image, in a container that is as sound as before."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        # Without this start, it would be no EXIF block.
        exif = image.info["exif"].removeprefix(_EXIF)
        changed = (damage if rng.random() < 0.5 else damage_values)(exif, rng)
        buffer = io.BytesIO()
        image.save(buffer, image.format, exif=_EXIF + changed)
    return buffer.getvalue()


def damage_table(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of a table, or put values into its fields that tables should not have."""
    if rng.random() < 0.4:
        return damage(content, rng)
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(rng.integers(1, 6)):
        row = rows[rng.integers(len(rows))]
        row[rng.integers(len(row))] = FIELDS[rng.integers(len(FIELDS))]
        if rng.random() < 0.2:
            rows.append(row)
    end = ("\n", "\r\n", "\r", "\n\n")[rng.integers(4)]
    return end.join(",".join(row) for row in rows).encode(errors="replace")


def damage_model(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of a model file, or one of its members with a valid checksum."""
    if rng.random() < 0.3:
        return damage(content, rng)
    target = ("config.json", "metadata.json", "model.weights.h5")[rng.integers(3)]
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name == target:
                is_text = name == "config.json" and rng.random() < 0.6
                member = (damage_json if is_text else damage)(member, rng)
            # A name alone would add the current time to the file.
            new.writestr(zipfile.ZipInfo(name), member)
    return out.getvalue()


def damage_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Change values of a JSON document, which stays valid JSON."""
    document = json.loads(content)
    slots = []
    waiting = [document]
    while waiting:
        item = waiting.pop()
        keys = item.keys() if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            slots.append((item, key))
            if isinstance(item[key], dict | list):
                waiting.append(item[key])
    values = (None, 0, -1, 1 << 40, 0.5, "", "Dense", [], {}, True, "x" * 1000)
    for _ in range(rng.integers(1, 4)):
        item, key = slots[rng.integers(len(slots))]
        item[key] = values[rng.integers(len(values))]
    return json.dumps(document).encode()


def damage_tflite(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a `.tflite` file, mostly with a checksum that fits again, or replace its model.

    Replaced by what other programs write: another model, or a start of ONNX, zip or HDF5.
    """
    choice = rng.random()
    if choice < 0.1:
        return damage(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        record = json.loads(archive.read(member))
    flatbuffer = content[: member.header_offset]
    if choice < 0.6:
        flatbuffer = damage_values(flatbuffer, rng)
    elif choice < 0.75:
        flatbuffer = damage(flatbuffer, rng)
    elif choice < 0.9:
        flatbuffer = _damage_graph(flatbuffer, rng)
    else:
        start = _FOREIGN[rng.integers(len(_FOREIGN))]
        flatbuffer = start + rng.bytes(int(rng.integers(4000)))
        if rng.random() < 0.5:
            return flatbuffer
    return repack(flatbuffer, record)


# ONNX's first fields (version 8, producer pytorch), zip, HDF5, pickle, and flatbuffers.
_FOREIGN = (
    b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:",
    b"PK\x03\x04\x14\0\0\0\0\0",
    b"\x89HDF\r\n\x1a\n",
    b"\x80\x02}q\x00",
    b"\x1c\0\0\0TFL3",
    b"\x20\0\0\0ORTM",
    b"",
)


def repack(flatbuffer: bytes, record: dict) -> bytes:
    """Return a `.tflite` file of this project with this model and its checksum."""
    record = {**record, "sha256": hashlib.sha256(flatbuffer).hexdigest()}
    buffer = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo("description.json"), json.dumps(record))
    return buffer.getvalue()


def _damage_graph(flatbuffer: bytes, rng: np.random.Generator) -> bytes:
    """Change one to three numbers of a model that stays a sound flatbuffer."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    root = schema.ModelT.InitFromPackedBuf(flatbuffer)
    slots = []
    waiting: list = [*root.subgraphs, *root.operatorCodes]
    while waiting:
        item = waiting.pop()
        fields = list(range(len(item))) if isinstance(item, list) else list(vars(item))
        for field in fields:
            value = item[field] if isinstance(item, list) else getattr(item, field)
            if isinstance(value, int | np.integer | np.ndarray | bytes):
                slots.append((item, field, value))
            elif isinstance(value, list) or hasattr(value, "__dict__"):
                waiting.append(value)
    for _ in range(rng.integers(1, 4)):
        item, field, value = slots[rng.integers(len(slots))]
        number = int(rng.integers(-1, 12)) if rng.random() < 0.7 else int(rng.choice(_NUMBERS))
        if isinstance(value, bytes):
            continue
        if isinstance(value, np.ndarray):
            if not len(value):
                continue
            changed = value.copy()
            changed[rng.integers(len(changed))] = number
            if rng.random() < 0.3:
                changed = changed[: rng.integers(len(changed) + 1)]
        elif isinstance(value, bool):
            changed = not value
        else:
            changed = number
        if isinstance(item, list):
            item[field] = changed
        else:
            setattr(item, field, changed)
    builder = flatbuffers.Builder(len(flatbuffer))
    try:
        builder.Finish(root.Pack(builder), b"TFL3")
    except (TypeError, ValueError, OverflowError):  # a number that its field cannot hold
        return damage_values(flatbuffer, rng)
    return bytes(builder.Output())


DAMAGE = {
    "jpeg": damage,
    "png": damage,
    "tiff": damage_tiff,
    "exif": damage_exif,
    "table": damage_table,
    "model": damage_model,
    "tflite": damage_tflite,
}


def seed_files(folder: Path, seed: int) -> dict[str, list[bytes]]:
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
    exif[_ORIENTATION], exif[_DESCRIPTION], exif[_RESOLUTION] = 6, "a mole, on the back", 72.0
    return exif


def _tflite_files(folder: Path) -> list[bytes]:
    """Return small models with the operations of all backbones, in several number formats."""
    from models.backend import start_tensorflow

    start_tensorflow()

    import keras

    from models.bundle import ClassProbabilities
    from models.conversion import convert

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
        convert(model, path, quantize=kind, images=images)
        files.append(path.read_bytes())
    return files
