"""The sizes of the frames inside an AVIF file: its header may give another one.

Boxes: ISO/IEC 14496-12 and 23008-12. Frames: https://aomediacodec.github.io/av1-spec, section 5.5.
"""

import contextlib
import struct
from collections.abc import Iterator

_FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_SEQUENCE_HEADER = 1
# The items of a file together, in its own length, and their units.
_MAX_COPIES, _MAX_UNITS = 4, 100_000


def frame_sizes(content: bytes) -> list[tuple[int, int]]:
    """Return the largest width and height of the frames of each image in an AVIF file.

    Args:
        content: of the file.

    Returns:
        One size for each sequence header of AV1.

    Raises:
        ValueError, IndexError, struct.error: the file is damaged, or made to be slow to read.
    """
    sizes, units = [], 0
    left = _MAX_COPIES * len(content)
    for item in _items(content):
        left -= len(item)
        # An item that is no image, such as EXIF, may look like anything.
        with contextlib.suppress(_DamagedUnitError):
            for kind, body in _units(item):
                units += 1
                if left < 0 or units > _MAX_UNITS:
                    raise ValueError("items overlap, or have too many parts")
                if kind == _SEQUENCE_HEADER:
                    sizes.append(_sequence_size(body))
    return sizes


class _DamagedUnitError(ValueError):
    """A part of an item is no unit of AV1."""


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of each box."""
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", content, start)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, start + 8)
            header = 16
        stop = end if length == 0 else start + length
        if stop > end or (length and length < header):
            raise ValueError("a box ends outside of the one that holds it")
        yield name, start + header, stop
        start = stop


def _items(content: bytes) -> Iterator[bytes]:
    """Yield what may hold a coded image: each item, and each chunk of an animation."""
    folders = [(0, len(content))]
    while folders:
        for name, start, end in _boxes(content, *folders.pop()):
            if name in _FOLDERS:
                folders.append((start, end))
            elif name in (b"stco", b"co64"):
                kind = "I" if name == b"stco" else "Q"
                (count,) = struct.unpack_from(">I", content, start + 4)
                if count:  # the first frame is in the first chunk
                    yield content[struct.unpack_from(">" + kind, content, start + 8)[0] :]
            elif name == b"meta":
                inside = {name: place for name, *place in _boxes(content, start + 4, end)}
                if b"iloc" in inside:
                    own, stop = inside.get(b"idat", (0, 0))
                    places = content[slice(*inside[b"iloc"])]
                    for is_own, extents in _extents(places):
                        source = content[own:stop] if is_own else content
                        if sum(n or len(source) for _, n in extents) > len(source):
                            raise ValueError("an item is larger than the file")
                        yield b"".join(source[a : a + n if n else None] for a, n in extents)


def _extents(box: bytes) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
    """Yield for each item whether it is in the box `idat`, and offset and length of its parts."""
    version = box[0]
    widths = (box[4] >> 4, box[4] & 15, box[5] >> 4, box[5] & 15)
    offset_width, length_width, base_width, index_width = widths
    position = 6

    def read(width: int) -> int:
        nonlocal position
        position += width
        if position > len(box):
            raise ValueError("a table of items is cut off")
        return int.from_bytes(box[position - width : position], "big")

    for _ in range(read(4 if version == 2 else 2)):
        read(4 if version == 2 else 2)  # the id
        method = read(2) & 15 if version else 0
        read(2)  # the file
        base = read(base_width)
        extents = []
        for _ in range(read(2)):
            read(index_width if version else 0)
            offset = base + read(offset_width)
            extents.append((offset, read(length_width)))
        yield method == 1, extents


def _units(item: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of the units ("OBU") of AV1; ends where there are none."""
    position = 0
    while position + 1 < len(item):
        header = item[position]
        if header & 0x80:  # always 0
            return
        position += 2 if header & 4 else 1
        length = len(item) - position
        if header & 2:
            length = 0
            for i in range(8):
                if position == len(item):
                    raise _DamagedUnitError("a length is cut off")
                byte = item[position]
                position += 1
                length |= (byte & 0x7F) << 7 * i
                if byte < 0x80:
                    break
        yield header >> 3 & 15, item[position : position + length]
        position += length


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._value, self._left = int.from_bytes(content, "big"), 8 * len(content)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise _DamagedUnitError("a sequence header is cut off")
        return self._value >> self._left & (1 << count) - 1


def _sequence_size(body: bytes) -> tuple[int, int]:
    """Return the width and height that a sequence header allows."""
    bits = _Bits(body[:1024])
    bits.read(4)  # profile, still picture
    if bits.read(1):  # a short header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    has_model, delay_bits = 0, 0
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):  # frames at equal intervals
            zeros = 0
            while not bits.read(1):
                zeros += 1
            bits.read(zeros if zeros < 32 else 0)
        has_model = bits.read(1)
        if has_model:
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)  # tier
        if has_model and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_delay and bits.read(1):
            bits.read(4)
