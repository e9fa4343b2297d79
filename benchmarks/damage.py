"""Ways to damage the files of every kind that `benchmarks.fuzz` tries."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np

FIELDS = ("", "nan", "-1", "1e999", "\x00", '"', "'", "../../etc/passwd", "ä皮", "x" * 70_000, ",")
_NUMBERS = (0, 1, -1, 2, 3, 127, 255, 1 << 16, 1 << 30, -(1 << 31), (1 << 31) - 1)
_EXIF = b"Exif\0\0"


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
    from data.decoders import open_image

    with open_image(io.BytesIO(content)) as image:
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


def damage_weights(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of an HDF5 file, or one of its objects in a file that stays sound."""
    if rng.random() < 0.5:
        return (damage if rng.random() < 0.5 else damage_values)(content, rng)
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = names[rng.integers(len(names))]
        item, change = file[name], rng.integers(6)
        if change == 0:
            del file[name]
        elif change == 1 and isinstance(item, h5py.Dataset) and item.size:
            item[...] = np.full(item.shape, (np.nan, np.inf, 1e38)[rng.integers(3)])
        elif change == 2:
            file.create_group(f"{name}-more")["link"] = item
        elif change == 3:
            for group in (file, item):
                for attribute in list(group.attrs):
                    group.attrs[attribute] = FIELDS[1 + rng.integers(3)]
        else:
            del file[name]
            value = ("text", np.zeros((3, 0, 2)), np.zeros(5, complex), 7)[rng.integers(4)]
            file[name] = value
    return buffer.getvalue()


def damage_run_folder(content: bytes, rng: np.random.Generator) -> bytes:
    """Change one file of a run folder, given as a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = sorted(files)[rng.integers(len(files))]
    choice = rng.random()
    if name.endswith(".json") and choice < 0.6:
        files[name] = damage_json(files[name], rng)
    elif name.endswith(".json") and choice < 0.7:
        files[name] = _DOCUMENTS[rng.integers(len(_DOCUMENTS))]
    elif name.endswith(".npz") and choice < 0.6:
        files[name] = _damage_arrays(files[name], rng)
    else:
        files[name] = damage(files[name], rng)
    return _zip(files)


# Other types, numbers that no computer counts with, and nesting that no stack holds.
_DOCUMENTS = (b"[]", b"7", b'"config"', b"null", b'{"config": 7}', b'{"config": {"seed": []}}')
_DOCUMENTS += (b"[" * 100_000, b'{"config":' * 50_000, b"9" * 5000, b'{"config": {"seed": 1e999}}')


def _damage_arrays(content: bytes, rng: np.random.Generator) -> bytes:
    """Change one array of an `.npz` file, with a valid checksum, or return it alone."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = sorted(files)[rng.integers(len(files))]
    if rng.random() < 0.1:
        return files[name]
    # Most of what matters is in the header.
    header = files[name][:128]
    changed = (damage if rng.random() < 0.5 else damage_values)(header, rng)
    if rng.random() < 0.2:
        changed = header.replace(b"'shape': (", b"'shape': (99999999999, ")
    files[name] = changed + files[name][128:]
    return _zip(files)


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def damage_http(content: bytes, rng: np.random.Generator) -> bytes:
    """Change the response of a server: its status, headers, their values, or bytes."""
    head, _, body = content.partition(b"\r\n\r\n")
    # Damaged bytes of an address could be that of another machine.
    if rng.random() < 0.4 and b"Location" not in head:
        return damage(head + b"\r\n\r\n" + body[:64], rng)
    lines = head.split(b"\r\n")
    for _ in range(rng.integers(1, 4)):
        i = int(rng.integers(len(lines) + 2))
        if i == 0:
            lines[0] = _STATUSES[rng.integers(len(_STATUSES))]
            continue
        name = _HEADERS[rng.integers(len(_HEADERS))]
        line = name + b": " + _VALUES[rng.integers(len(_VALUES))]
        lines[i:] = [line, *lines[i + 1 :]]
    body = body[: rng.integers(len(body) + 1)] if rng.random() < 0.3 else body
    return b"\r\n".join(lines) + b"\r\n\r\n" + body * int(rng.integers(1, 4))


_STATUSES = (
    b"HTTP/1.1 200",
    b"HTTP/1.1 404",
    b"HTTP/1.1 503",
    b"HTTP/1.1 \xb2",
    b"HTTP/9.9 200 OK",
)
_STATUSES += (b"HTTP/1.1 429 \x1b[31mred", b"HTTP/1.1 302 Found", b"HTTP/1.1 416 No", b"ICY 200 OK")
_STATUSES += (b"HTTP/1.1 206 Partial Content", b"HTTP/1.1 99999 OK", b"HTTP/1.1 -1 OK", b"")
_HEADERS = (b"Content-Length", b"Content-Range", b"Retry-After", b"Location", b"Transfer-Encoding")
_VALUES = (b"", b"\xb2", b"-1", b"0", b"9" * 5000, b"1e3", b"nan", b"chunked", b"bytes 0-9/\xb2")
_VALUES += (
    b"bytes 0-9/" + b"9" * 5000,
    b"bytes */5",
    b"\x1b[31m",
    b"http://[",
    b"file:///etc/passwd",
)
_VALUES += (b"http://127.0.0.1:99999/", b"//", b"ftp://127.0.0.1:1/", b"http://127.0.0.1:\xb2/")
_VALUES += (b"x" * 70_000, b"gzip", b"Wed, 21 Oct 2015 07:28:00 GMT")


DAMAGE = {
    "jpeg": damage,
    "png": damage,
    "tiff": damage_tiff,
    "exif": damage_exif,
    "table": damage_table,
    "model": damage_model,
    "tflite": damage_tflite,
    "weights": damage_weights,
    "run_folder": damage_run_folder,
    "http": damage_http,
}
