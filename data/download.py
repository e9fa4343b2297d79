"""Download of HAM10000 from its owners: python -m data.download

Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Harvard Dataverse, doi:10.7910/DVN/DBW86T.
"""

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

from data import DataError
from data.fetch import fetch
from data.sources import read_dataset
from support import cli
from support.files import make_folder
from support.terminal import Progress, format_bytes

PROG = "python -m data.download"
PAGE = "https://doi.org/10.7910/DVN/DBW86T"
LICENSE = "CC BY-NC 4.0: no commercial use, and credit to the authors"
TEST_FOLDER = "ISIC2018_Task3_Test"

_ADDRESS = "https://dataverse.harvard.edu/api/access/datafile/"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# Estimate for archives of unknown size, bytes per image.
_TYPICAL_IMAGE_SIZE = 300_000


@dataclass(frozen=True)
class RemoteFile:
    """A file of the data set on the owners' server.

    Attributes:
        name: of a table: its file name; of an archive: the folder that it is unpacked into.
        url: its address.
        md5: MD5 of the file, hexadecimal.
        size: size of the file in bytes; None if the owners do not publish it.
        images: number of images in an archive; 0 for a table.
    """

    name: str
    url: str
    md5: str
    size: int | None
    images: int = 0

    @property
    def file_name(self) -> str:
        """The name of the downloaded file."""
        return f"{self.name}.zip" if self.images else self.name

    @property
    def expected_size(self) -> int:
        """The size of the file, estimated if it is unknown."""
        return self.size or self.images * _TYPICAL_IMAGE_SIZE


# Without `?format=original` Dataverse converts a table: separated by tabs, with quotes.
TRAINING_FILES = (
    RemoteFile(
        "HAM10000_metadata.csv",
        f"{_ADDRESS}4338392?format=original",
        "8f85fb1aa29d80a2797247e434deb79d",
        690_218,
    ),
    RemoteFile(
        "HAM10000_images_part_1",
        f"{_ADDRESS}3172585",
        "4639bfa73ab251610530a97c898e6e46",
        1_366_522_108,
        5_000,
    ),
    RemoteFile(
        "HAM10000_images_part_2",
        f"{_ADDRESS}3172584",
        "da43d6cc50f6613013be07e8986b384b",
        1_403_566_547,
        5_015,
    ),
)
# The ground truth lists 1,512 images; ISIC_0035068 is not in the archive.
TEST_FILES = (
    RemoteFile(
        "ISIC2018_Task3_Test_GroundTruth.csv",
        f"{_ADDRESS}6924466?format=original",
        "2b5663aacc9644740f27e355cf7f369a",
        None,
    ),
    RemoteFile(
        "ISIC2018_Task3_Test_Images",
        f"{_ADDRESS}3855824",
        "0488b6f65849e310857d9207daa55a21",
        None,
        1_511,
    ),
)


def download_ham10000(
    output_dir: str | os.PathLike,
    *,
    files: Sequence[RemoteFile],
    say: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Download the missing files, verify and unpack them, and compare them with the metadata.

    Each archive is downloaded, unpacked and removed before the next, so that the disk holds one at
    a time. A folder of images gets its name when it is complete; until then it ends in `.part`, and
    a later call resumes there. If all images are there already, in whatever folders, nothing is
    done.

    Args:
        output_dir: the folder; created if it does not exist.
        files: a table, and the archives of its images.
        say: called with each line to show.
        sleep: as for `data.fetch.fetch`.

    Raises:
        DataError: a file cannot be downloaded or is damaged, images are missing, or the disk is
            full.
        OSError: the folder cannot be written.
    """
    root = Path(output_dir)
    expected = sum(file.images for file in files)
    with contextlib.suppress(DataError):
        if read_dataset(root).frame["path"].notna().sum() == expected:
            say(f"{root}: complete, {expected:,} images; nothing to do")
            return
    missing = [file for file in files if not _is_complete(root, file)]
    make_folder(root)
    say(f"downloading {PAGE} to {root}; license: {LICENSE}")
    for file in missing:
        size = format_bytes(file.size) if file.size else "unknown size"
        images = f", {file.images:,} images" if file.images else ""
        say(f"  {file.name}: {size}{images}")
    _check_space(missing, root)
    for file in missing:
        path = root / file.file_name
        _fetch_with_progress(file, path, say=say, sleep=sleep)
        if file.images:
            unpack(path, root / file.name, expected=file.images, say=say)
            path.unlink()
    frame = read_dataset(root).frame
    found = int(frame["path"].notna().sum())
    if found != expected:
        raise DataError(
            f"{root}: expected {expected:,} images that its table lists, received {found:,}; "
            "remove its image folders, and the table if it is not the original, and run the command"
            " again"
        )
    without = ", ".join(frame.loc[frame["path"].isna(), "image_id"])
    note = f"; the owners provide no image for {without}" if without else ""
    say(f"{root}: complete, {found:,} images{note}")


def _is_complete(root: Path, file: RemoteFile) -> bool:
    """Tell whether a table, or a folder with the expected number of images, is there."""
    path = root / file.name
    if file.images:
        return path.is_dir() and sum(1 for _ in path.iterdir()) >= file.images
    return path.is_file()


def _check_space(missing: Sequence[RemoteFile], root: Path) -> None:
    """Raise DataError if the files will not fit on the disk."""
    # The largest archive is on the disk together with all that is unpacked.
    needed = max((file.expected_size for file in missing), default=0)
    for file in missing:
        # JPEGs take as much space as their archive.
        part = root / f"{file.name}.part"
        unpacked = sum(path.stat().st_size for path in part.iterdir()) if part.is_dir() else 0
        needed += max(0, file.expected_size - unpacked)
        for archive in (root / file.file_name, root / f"{file.file_name}.part"):
            needed -= archive.stat().st_size if archive.is_file() else 0
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"{root}: expected {format_bytes(needed)} of free disk space, found "
            f"{format_bytes(free)}; free some space or choose another folder"
        )


def _fetch_with_progress(
    file: RemoteFile,
    path: Path,
    *,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    """Download a file with a progress bar, which makes room for each line."""
    progress = Progress(f"downloading {path.name}", unit="bytes", log_tenths=True)

    def clear_and_say(line: str) -> None:
        progress.clear()
        say(line)

    fetch(
        file.url,
        path,
        md5=file.md5,
        size=file.size,
        say=clear_and_say,
        on_progress=progress.update,
        sleep=sleep,
    )


def unpack(
    archive: Path, folder: Path, *, expected: int, say: Callable[[str], None] = print
) -> None:
    """Unpack the images of an archive into one folder, whole or not at all.

    The folders inside the archive are ignored, so no file can end up outside. Images that an
    earlier call has unpacked are kept if they match the checksum in the archive.

    Args:
        archive: a zip file.
        folder: gets its name when all images are there; until then it is `<folder>.part`.
        expected: number of images.
        say: called with each line to show.

    Raises:
        DataError: the archive is damaged, or has another number of images.
    """
    part = folder.with_name(folder.name + ".part")
    part.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = {
                Path(item.filename).name: item for item in file.infolist() if _is_image(item)
            }
            if len(members) != expected:
                raise DataError(
                    f"{archive}: expected {expected:,} images, received {len(members):,}; remove "
                    "it and run the command again"
                )
            # Compressed images hardly shrink in an archive: what grows much is something else.
            if sum(item.file_size for item in members.values()) > 4 * archive.stat().st_size:
                raise DataError(f"{archive}: expected images, received files that grow fourfold")
            progress = Progress(f"unpacking {archive.name}", log_tenths=True)
            for done, (name, item) in enumerate(members.items(), start=1):
                target = part / name
                if not _is_unpacked(target, item):
                    target.write_bytes(file.read(item))
                progress.update(done, len(members))
    # zipfile raises RuntimeError (NotImplementedError) for encryption and unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(
            f"{archive}: expected a zip archive, received a damaged one: {error}; remove it and "
            "run the command again"
        ) from error
    # An earlier archive may have left other files.
    for path in part.iterdir():
        if path.name not in members:
            path.unlink()
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    say(f"{folder.name}: {len(members):,} images")


def _is_image(item: zipfile.ZipInfo) -> bool:
    """Tell images from texts, folders and the resource forks that macOS adds."""
    path = Path(item.filename)
    return (
        path.suffix.lower() in _IMAGE_SUFFIXES
        and not item.is_dir()
        and "__MACOSX" not in path.parts
        and not path.name.startswith("._")
    )


def _is_unpacked(path: Path, item: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != item.file_size:
        return False
    return zlib.crc32(path.read_bytes()) == item.CRC


@dataclass(frozen=True)
class DownloadConfig(cli.Settings):
    """Settings of the command."""

    output_dir: str = cli.flag("datasets/HAM10000", "data", "folder to write")
    test_set: bool = cli.flag(
        False,
        "data",
        f"also download the official test set of ISIC 2018, to {TEST_FOLDER} beside that folder",
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROG, lambda: _command(argv))


def _command(argv: list[str] | None) -> int:
    description = "Download HAM10000 from its owners; files that are there already are kept."
    settings = cli.parse(DownloadConfig, argv, prog=PROG, description=description)
    output_dir = Path(settings.output_dir)
    try:
        download_ham10000(output_dir, files=TRAINING_FILES)
        if settings.test_set:
            download_ham10000(output_dir.parent / TEST_FOLDER, files=TEST_FILES)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the same command again to resume") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
