"""HAM10000 from its owners: python -m data.download

Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Harvard Dataverse, doi:10.7910/DVN/DBW86T.
"""

import argparse
import contextlib
import os
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from data import DataError
from data.fetch import TIMEOUT, fetch
from data.sources import read_dataset

PAGE = "https://doi.org/10.7910/DVN/DBW86T"
LICENCE = "CC BY-NC 4.0: not for commercial use, and the authors are to be named"
TEST_FOLDER = "ISIC2018_Task3_Test"
_FILES = "https://dataverse.harvard.edu/api/access/datafile/"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Source:
    """A file of the data set at its owners'.

    Attributes:
        name: of a table: its file; of an archive: the folder it is unpacked into.
        address: where it is.
        md5: of the file, hexadecimal.
        size: bytes of the file; None where the owners do not say.
        images: how many are in an archive; 0 for a table.
    """

    name: str
    address: str
    md5: str
    size: int | None
    images: int = 0


# Without `?format=original` a table arrives as another file, separated by tabs and quoted.
TRAINING = (
    Source(
        "HAM10000_metadata.csv",
        f"{_FILES}4338392?format=original",
        "8f85fb1aa29d80a2797247e434deb79d",
        690_218,
    ),
    Source(
        "HAM10000_images_part_1",
        f"{_FILES}3172585",
        "4639bfa73ab251610530a97c898e6e46",
        1_366_522_108,
        5_000,
    ),
    Source(
        "HAM10000_images_part_2",
        f"{_FILES}3172584",
        "da43d6cc50f6613013be07e8986b384b",
        1_403_566_547,
        5_015,
    ),
)
# The ground truth lists 1,512 images; ISIC_0035068 is not in the archive.
TEST = (
    Source(
        "ISIC2018_Task3_Test_GroundTruth.csv",
        f"{_FILES}6924466?format=original",
        "2b5663aacc9644740f27e355cf7f369a",
        None,
    ),
    Source(
        "ISIC2018_Task3_Test_Images",
        f"{_FILES}3855824",
        "0488b6f65849e310857d9207daa55a21",
        None,
        1_511,
    ),
)
# What a file of unknown size is taken for, in bytes an image, when space is asked for.
_TYPICAL_IMAGE = 300_000
_BAR_WIDTH = 16


def download_ham10000(
    output_dir: str | os.PathLike,
    *,
    sources: Sequence[Source] = TRAINING,
    say: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
    timeout: float = TIMEOUT,
) -> None:
    """Fetch what is missing, check it, unpack it, and compare it with the metadata.

    Each archive is fetched, unpacked and removed before the next, so that the disk holds one at a
    time. A folder of images gets its name when it is complete; until then it ends in `.part`,
    and a later call goes on from there. Where all images are there already, in whatever folders,
    nothing is done.

    Args:
        output_dir: the folder; made where it does not exist.
        sources: a table, and the archives of its images.
        say: receives the lines to show.
        sleep: as for `data.fetch.fetch`.
        timeout: as for `data.fetch.fetch`.

    Raises:
        DataError: a file cannot be had or is damaged, images are missing, or the disk is full.
        OSError: the folder cannot be written.
    """
    root = Path(output_dir)
    expected = sum(source.images for source in sources)
    with contextlib.suppress(DataError):
        frame = read_dataset(root).frame
        if frame["path"].notna().sum() == expected:
            say(f"{root}: complete, {expected:,} images; nothing to do")
            return
    missing = [source for source in sources if not _is_here(root, source)]
    root.mkdir(parents=True, exist_ok=True)
    say(f"from {PAGE} into {root}, under {LICENCE}")
    for source in missing:
        size = _format_bytes(source.size) if source.size else "size not known"
        images = f", {source.images:,} images" if source.images else ""
        say(f"  {source.name}: {size}{images}")
    _ask_for_space(missing, root)
    for source in missing:
        path = root / (f"{source.name}.zip" if source.images else source.name)
        progress = Progress(f"downloading {path.name}", bytes_=True)

        def interrupt(line: str, progress: Progress = progress) -> None:
            progress.clear()
            say(line)

        fetch(
            source.address,
            path,
            md5=source.md5,
            size=source.size,
            say=interrupt,
            on_progress=progress,
            sleep=sleep,
            timeout=timeout,
        )
        if source.images:
            unpack(path, root / source.name, expected=source.images, say=say)
            path.unlink()
    frame = read_dataset(root).frame
    found = int(frame["path"].notna().sum())
    if found != expected:
        raise DataError(
            f"{root} should have {expected:,} images that its table lists, received {found:,}; "
            "remove its folders of images, and the table if it is another, and run this again"
        )
    without = frame.loc[frame["path"].isna(), "image_id"].tolist()
    said = f"; the table also lists {', '.join(without)}, without an image" if without else ""
    say(f"{root}: complete, {found:,} images{said}")


def _is_here(root: Path, source: Source) -> bool:
    """Tell whether a table, or a folder with its number of images, is there."""
    path = root / source.name
    if source.images:
        return path.is_dir() and sum(1 for _ in path.iterdir()) >= source.images
    return path.is_file()


def _ask_for_space(missing: Sequence[Source], root: Path) -> None:
    """Stop now if the disk would be full later.

    Raises:
        DataError: it would be.
    """
    needed = largest = 0
    for source in missing:
        # JPEGs take as much space as their archive.
        size = source.size or source.images * _TYPICAL_IMAGE
        largest = max(largest, size)
        part = root / f"{source.name}.part"
        unpacked = sum(path.stat().st_size for path in part.iterdir()) if part.is_dir() else 0
        needed += max(0, size - unpacked)
        for archive in (root / f"{source.name}.zip", root / f"{source.name}.zip.part"):
            needed -= archive.stat().st_size if archive.is_file() else 0
    # The largest archive lies beside what it is unpacked to.
    needed += largest
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"{root} needs {_format_bytes(needed)} of free disk, received {_format_bytes(free)}; "
            "make room, or choose another place with --output_dir"
        )


def unpack(
    archive: Path, folder: Path, *, expected: int, say: Callable[[str], None] = print
) -> None:
    """Unpack the images of an archive into one folder, whole or not at all.

    Names of folders inside the archive are ignored, so that nothing can get out of the folder.
    Images that an earlier call has unpacked are compared with the archive's checksum and kept.

    Args:
        archive: a zip file.
        folder: gets its name when all images are there; until then it is `<folder>.part`.
        expected: number of images.
        say: receives the lines to show.

    Raises:
        DataError: the archive is damaged, or has another number of images.
    """
    part = folder.with_name(folder.name + ".part")
    part.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = {
                Path(member.filename).name: member
                for member in file.infolist()
                if _is_image(member) and not member.is_dir()
            }
            if len(members) != expected:
                raise DataError(
                    f"{archive} should hold {expected:,} images, received {len(members):,}; "
                    "remove it and run the command again"
                )
            # Photographs do not shrink in an archive: what grows much is none of them.
            if sum(member.file_size for member in members.values()) > 4 * archive.stat().st_size:
                raise DataError(f"{archive} should hold photographs, but unpacks to far more")
            progress = Progress(f"unpacking {archive.name}")
            for done, (name, member) in enumerate(members.items(), start=1):
                target = part / name
                if not _is_unpacked(target, member):
                    target.write_bytes(file.read(member))
                progress(done, len(members))
    # A RuntimeError is an archive that is encrypted or packed in a way that Python lacks.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(
            f"{archive} should be a zip archive, but is damaged: {error}; remove it and run the "
            "command again"
        ) from error
    # What an archive of another time left.
    for path in part.iterdir():
        if path.name not in members:
            path.unlink()
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    say(f"{folder.name}: {len(members):,} images")


def _is_image(member: zipfile.ZipInfo) -> bool:
    """Leave out what macOS adds to an archive, and texts."""
    path = Path(member.filename)
    return (
        path.suffix.lower() in _IMAGE_SUFFIXES
        and "__MACOSX" not in path.parts
        and not path.name.startswith("._")
    )


def _is_unpacked(path: Path, member: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    return zlib.crc32(path.read_bytes()) == member.CRC


class Progress:
    """A line that says how far it is, how fast, and how long it will take.

    On a terminal it is kept up to date; elsewhere what takes longer than a second gets a line at
    each tenth.
    """

    def __init__(self, what: str, *, bytes_: bool = False) -> None:
        self.what, self.bytes = what, bytes_
        self.started: tuple[float, int] | None = None
        self.shown = 0.0
        self.tenth = 0

    def __call__(self, done: int, total: int | None) -> None:
        """Show a count; `total` is None where it is not known."""
        now = time.monotonic()
        # What was here before does not count for the speed.
        self.started = self.started or (now, done)
        since, first = self.started
        speed = (done - first) / (now - since) if now > since else 0.0
        ended = done == total
        if sys.stderr.isatty():
            if ended:
                self.clear()
            elif now > self.shown + 0.2:
                self.shown = now
                print(f"\r\x1b[K{self._line(done, total, speed)}", end="", file=sys.stderr)
                sys.stderr.flush()
        elif total and done * 10 // total > self.tenth and not ended and now > since + 1:
            self.tenth = done * 10 // total
            print(self._line(done, total, speed), file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Clear the line, so that another can be printed there."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self, done: int, total: int | None, speed: float) -> str:
        def show(value: float) -> str:
            return _format_bytes(value) if self.bytes else f"{value:,.0f}"

        if not total:
            return f"{self.what}  {show(done)}  {show(speed)}/s"
        filled = min(done, total) * _BAR_WIDTH // total
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
        line = f"{self.what} {bar} {done / total:4.0%}  {show(done)} of {show(total)}"
        line = f"{line}  {show(speed)}/s"
        left = (total - done) / speed if speed else 0
        return f"{line}  {_format_seconds(left)} left" if left else line


def _format_bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _format_seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _OneLineParser(
        prog="python -m data.download",
        description="Download HAM10000 from its owners; what is there already is left alone.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output_dir",
        default="datasets/HAM10000",
        help="folder to write (default: %(default)s)",
    )
    parser.add_argument(
        "--test_set",
        action="store_true",
        help=f"also fetch the official test set of ISIC 2018, into {TEST_FOLDER} beside it",
    )
    args = parser.parse_args(argv)
    parts = [(Path(args.output_dir), TRAINING)]
    if args.test_set:
        parts.append((Path(args.output_dir).parent / TEST_FOLDER, TEST))
    try:
        for folder, sources in parts:
            download_ham10000(folder, sources=sources)
    except (DataError, OSError) as error:
        print(f"python -m data.download: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\npython -m data.download: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
