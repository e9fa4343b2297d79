"""What HAM10000 is: classes, metadata CSV, images, and a split that keeps lesions whole.

Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Scientific Data 5, 180161 (2018),
doi:10.1038/sdata.2018.161.
"""

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data import DataError, DataWarning, one_line
from data.folders import walk

if TYPE_CHECKING:
    import pandas as pd

DIAGNOSES = {
    "akiec": "actinic keratosis or Bowen's disease",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
CLASS_NAMES = tuple(DIAGNOSES)
# Bowen's disease is a carcinoma in situ, actinic keratosis its precursor: both are treated.
MALIGNANT = ("akiec", "bcc", "mel")
SPLIT_NAMES = ("train", "val", "test")

_NO_AGE = ("", "na", "nan", "none", "null", "unknown")
_TABLE_SUFFIXES = (".csv", ".tab", ".tsv", ".txt", "")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_MASK_ENDING = "_segmentation"


def read_metadata(data_dir: str | os.PathLike) -> "pd.DataFrame":
    """Read the metadata of a HAM10000 folder and find its images.

    The folder may be Kaggle's (two folders of JPEGs beside the CSV), one folder of images under
    any name, or images beside the CSV. The table may be separated by commas or tabs, with any
    line ends; columns beyond `image_id` and `dx` are optional.

    Args:
        data_dir: the folder; searched with all its subfolders.

    Returns:
        One row an image, in the table's order: `image_id`, `lesion_id`, `label` (one of
        `CLASS_NAMES`), `path` (str, or None where the folder has no such image), and whatever of
        `dx_type`, `age`, `sex`, `localization` the table has. Without `lesion_id` every image
        is its own lesion, and a `DataWarning` says so.

    Raises:
        DataError: there is no such folder, no table, or the table cannot be used.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise DataError(no_folder(data_dir))
    tables, paths = list_files(root)
    table = find_table(tables)
    if table is None:
        raise DataError(
            f"expected HAM10000_metadata.csv or another table with the columns image_id and dx in "
            f"{root}, found none among {len(tables)} possible files; put the metadata file there"
        )
    frame = _check_metadata(read_table(table, ("image_id", "dx")), table)
    add_paths(frame, paths, table)
    return frame


def no_folder(data_dir: str | os.PathLike) -> str:
    """Return what to say where there are no data."""
    return (
        f"expected a folder of images with their diagnoses, found no folder {str(data_dir)!r}; "
        f"fetch HAM10000 with python -m data.download --output_dir {data_dir}, or name another "
        "folder with --data_dir"
    )


def find_masks(data_dir: str | os.PathLike) -> dict[str, str]:
    """Find the outlines of lesions beside the images.

    Tschandl et al., *Human-computer collaboration for skin cancer recognition*, Nature Medicine 26
    (2020), doi:10.1038/s41591-020-0942-0, drew them for all of HAM10000.

    Args:
        data_dir: the folder of the images; searched with all its subfolders.

    Returns:
        Path by image_id, of the files named `<image_id>_segmentation.png`; empty without any.
    """
    _, paths = list_files(Path(data_dir))
    return {
        name.removesuffix(_MASK_ENDING): path
        for name, path in _by_id(paths).items()
        if name.endswith(_MASK_ENDING)
    }


def list_files(root: Path) -> tuple[list[Path], list[str]]:
    """List a folder's possible tables and its images, in a fixed order, with all its subfolders."""
    tables: list[Path] = []
    images: list[str] = []
    for folder, names in walk(root):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            # What macOS writes beside files on other systems' disks is neither.
            if name.startswith("._"):
                continue
            if suffix in _IMAGE_SUFFIXES:
                images.append(os.path.join(folder, name))
            elif suffix in _TABLE_SUFFIXES:
                tables.append(Path(folder, name))
    return tables, images


def _by_id(paths: Iterable[str]) -> dict[str, str]:
    """Return paths by image_id, their file names without ending; of two copies the first."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(Path(path).stem, path)
    return found


def add_paths(frame: "pd.DataFrame", paths: Iterable[str], table: Path) -> None:
    """Add to each row of a table the path of its image, None where there is none.

    Args:
        frame: with a column `image_id`; receives a column `path`.
        paths: the images that are there.
        table: where the rows come from.

    Raises:
        DataError: none of the rows has an image.
    """
    images = _by_id(paths)
    frame["path"] = [images.get(image_id) for image_id in frame["image_id"]]
    if frame["path"].isna().all():
        raise DataError(
            f"{table} lists {len(frame)} images such as {frame['image_id'].iloc[0]}.jpg, and none "
            "of them is in its folder or another of the data set; put the image folders there"
        )


def find_table(tables: Sequence[Path]) -> Path | None:
    """Return HAM10000's metadata: the table of that name, else the first with its columns."""
    named = [path for path in tables if path.stem.lower() == "ham10000_metadata"]
    for path in named or tables:
        if named or {"image_id", "dx"} <= set(_read_header(path)[0]):
            return path
    return None


def _read_header(path: Path) -> tuple[list[str], str]:
    """Return the column names and the separator of a table."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline(100_000).strip()
    separator = "\t" if "\t" in line else ","
    return [name.strip().strip('"') for name in line.split(separator)], separator


def read_table(path: Path, needed: Sequence[str]) -> "pd.DataFrame":
    """Read a table as text: separated by commas or tabs, with any line ends, in UTF-8.

    Args:
        path: the file.
        needed: columns that it has to have.

    Returns:
        Its rows, all values str without spaces around them, empty where nothing stands.

    Raises:
        DataError: it is no such table, lacks a column or has no rows.
    """
    # Here alone, so that who only wants the names of the classes does not wait for pandas.
    import pandas as pd

    columns, separator = _read_header(path)
    if columns == [""]:
        raise DataError(f"{path} should hold the metadata, but begins with nothing; copy it anew")
    if columns[0].startswith("<"):
        raise DataError(
            f"{path} should be a table, but is a web page; download the file itself, not the page"
        )
    if not set(needed) <= set(columns):
        names = " and ".join(needed)
        raise DataError(
            f"{path} should have the columns {names}, received {', '.join(columns)[:200]}"
        )
    try:
        with warnings.catch_warnings():
            # Of a row with too many fields pandas would drop the last, and those before be wrong.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                encoding="utf-8-sig",
                keep_default_na=False,
                index_col=False,
            )
    # Most of pandas's errors are ValueErrors.
    except (ValueError, OverflowError, MemoryError, pd.errors.ParserWarning) as error:
        raise DataError(
            f"{path} should be a table in UTF-8, but cannot be read: "
            f"{' '.join(str(error).split())[:200]}; correct that place or copy the file anew"
        ) from error
    if frame.empty:
        raise DataError(f"{path} should have a row for each image, received none")
    frame.columns = frame.columns.str.strip()
    return frame.apply(lambda column: column.str.strip())


def _check_metadata(frame: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    """Check the rows of HAM10000's table, repair what can be, and keep the columns in use."""
    frame = frame.rename(columns={"dx": "label"})
    frame["label"] = frame["label"].str.lower()
    unknown = frame.loc[~frame["label"].isin(CLASS_NAMES), "label"]
    if len(unknown):
        raise DataError(
            f"{path}: dx should be one of {', '.join(CLASS_NAMES)}, received {unknown.iloc[0]!r} "
            f"in line {unknown.index[0] + 2}; correct or remove {len(unknown)} such rows"
        )
    same = frame.duplicated()
    if same.any():
        example = frame.loc[same, "image_id"].iloc[0]
        warn(f"{path}: {same.sum()} rows stand twice, such as {example}; one of each is taken")
        frame = frame[~same]
    repeated = frame.loc[frame["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise DataError(
            f"{path}: every image_id should stand once, {repeated.iloc[0]} comes again with other "
            f"values in line {repeated.index[0] + 2}; remove {len(repeated)} wrong rows"
        )
    frame = frame.reset_index(drop=True)
    if "lesion_id" not in frame:
        warn(
            f"{path} has no column lesion_id: every image counts as its own lesion, and two "
            "photographs of one lesion can end up in training and test"
        )
        frame["lesion_id"] = frame["image_id"]
    add_lesions(frame, path)
    diagnoses = frame.groupby("lesion_id")["label"].nunique()
    if (diagnoses > 1).any():
        warn(
            f"{path}: {(diagnoses > 1).sum()} lesions have more than one diagnosis, such as "
            f"{diagnoses.idxmax()}; each image keeps its own, and the lesion stays in one split"
        )
    if "age" in frame:
        frame["age"] = to_years(frame["age"], path)
    kept = ("image_id", "lesion_id", "label", "dx_type", "age", "sex", "localization")
    return frame[[name for name in kept if name in frame]].copy()


def add_lesions(frame: "pd.DataFrame", source: Path) -> None:
    """Make an image whose lesion is not known a lesion of its own, and say so.

    Args:
        frame: with `image_id`, and `lesion_id`, empty where it is not known; changed.
        source: where the rows come from.
    """
    alone = frame["lesion_id"] == ""
    if alone.any():
        warn(
            f"{source}: {alone.sum():,} of {len(frame):,} images have no lesion_id: each counts as "
            "a lesion of its own, and two photographs of one can end up in training and test"
        )
        frame.loc[alone, "lesion_id"] = frame.loc[alone, "image_id"]


def to_years(ages: "pd.Series", source: Path) -> "pd.Series":
    """Return ages as numbers, and say which are none.

    Args:
        ages: str, empty or a word such as `unknown` where an age is missing.
        source: where they come from.

    Returns:
        float64, in 0..150, or NaN.
    """
    import pandas as pd

    years = pd.to_numeric(ages, errors="coerce").astype(float)
    years = years.where(years.between(0, 150))
    wrong = ages[years.isna() & ~ages.str.lower().isin(_NO_AGE)]
    if len(wrong):
        warn(
            f"{source}: {len(wrong)} ages are no years, such as {wrong.iloc[0][:200]!r}; "
            "these images are in no age group"
        )
    return years


def warn(message: str) -> None:
    """Say that data can be used, but not as their owner may think."""
    warnings.warn(one_line(message), DataWarning, stacklevel=3)


def split_by_lesion(
    frame: "pd.DataFrame",
    *,
    seed: int,
    validation_share: float = 0.15,
    test_share: float = 0.15,
) -> "pd.Series":
    """Assign every lesion, with all its photographs, to training, validation or test.

    Class by class, the lesions are shuffled, those with the most photographs come first, and
    each goes to the split that is furthest behind its share. So every class is divided to within
    about one lesion, and a class of three lesions is still in all three splits. (Equal folds, as
    `StratifiedGroupKFold` makes them, reach 70/15/15 only with twenty of them, and then leave
    the rarest classes out of some.)

    Args:
        frame: with columns `lesion_id` and `label`; the first label of a lesion counts for it.
        seed: of the shuffling.
        validation_share: of the images, in (0, 1).
        test_share: of the images, in (0, 1).

    Returns:
        `train`, `val` or `test` for each row, under the frame's index.
    """
    shares = np.array([1 - validation_share - test_share, validation_share, test_share])
    if shares.min() <= 0:
        raise ValueError(f"every share should be above 0, received {shares.tolist()}")
    rng = np.random.default_rng(seed)
    lesions = frame.groupby("lesion_id", sort=True)["label"].agg(["first", "size"])
    split_of: dict[str, str] = {}
    for label in sorted(lesions["first"].unique()):
        sizes = lesions.loc[lesions["first"] == label, "size"]
        sizes = sizes.iloc[rng.permutation(len(sizes))].sort_values(ascending=False, kind="stable")
        images = np.zeros(3)
        for lesion_id, size in sizes.items():
            behind = int(np.argmin(images / shares))
            images[behind] += size
            split_of[lesion_id] = SPLIT_NAMES[behind]
    return frame["lesion_id"].map(split_of).rename("split")


def write_split(frame: "pd.DataFrame", path: Path) -> None:
    """Write `image_id`, `lesion_id`, `label` and `split` of each image as CSV, whole or not."""
    part = path.with_name(path.name + ".part")
    frame[["image_id", "lesion_id", "label", "split"]].to_csv(part, index=False)
    os.replace(part, path)


def class_weights(labels: "pd.Series", mode: str) -> dict[str, float]:
    """Return the weight of each class in the loss.

    Args:
        labels: one of `CLASS_NAMES` for each training image.
        mode: `none` (all 1), `balanced` (inverse frequency) or `sqrt` (its square root).

    Returns:
        A weight for each of `CLASS_NAMES`, scaled so that their mean over the images is 1; a
        class without images has weight 1.
    """
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[mode]
    counts = labels.value_counts().reindex(CLASS_NAMES, fill_value=0)
    raw = counts.where(counts > 0, 1).astype(float) ** -power
    scale = len(labels) / (raw * counts).sum()
    return {name: float(raw[name] * scale) if counts[name] else 1.0 for name in CLASS_NAMES}


def class_shares(labels: "pd.Series") -> np.ndarray:
    """Return the share of each class.

    Args:
        labels: one of `CLASS_NAMES` for each image.

    Returns:
        float64 `[classes]`, in the order of `CLASS_NAMES`; a class without images counts as one
        image, so that the logarithm of its share has a value.
    """
    counts = labels.value_counts().reindex(CLASS_NAMES, fill_value=0).clip(lower=1)
    return (counts / counts.sum()).to_numpy()


def select_split(
    frame: "pd.DataFrame",
    split: str,
    *,
    train_image_ids: Collection[str],
    train_lesion_ids: Collection[str],
    validation_image_ids: Collection[str],
    validation_lesion_ids: Collection[str],
) -> "pd.DataFrame":
    """Select the images of a split as a model knows it.

    Args:
        frame: with columns `image_id` and `lesion_id`.
        split: `train` or `val`: images the model learned from, or was chosen by; `test`: images
            that are neither, nor show a lesion of either; `all`: every image.
        train_image_ids: images the model learned from.
        train_lesion_ids: their lesions.
        validation_image_ids: images the model was chosen by.
        validation_lesion_ids: their lesions.

    Returns:
        The rows of the frame in that split.

    Raises:
        DataError: the split is unknown, or has none of the images.
    """
    if split not in (*SPLIT_NAMES, "all"):
        names = ", ".join((*SPLIT_NAMES, "all"))
        raise DataError(f"unknown split {split!r}; choose from {names}")
    images, lesions = frame["image_id"], frame["lesion_id"]
    if split == "all":
        return frame
    if split == "train":
        chosen = images.isin(list(train_image_ids))
    elif split == "val":
        chosen = images.isin(list(validation_image_ids))
    else:
        known_images = [*train_image_ids, *validation_image_ids]
        known_lesions = [*train_lesion_ids, *validation_lesion_ids]
        chosen = ~images.isin(known_images) & ~lesions.isin(known_lesions)
    if not chosen.any():
        raise DataError(
            f"none of the {len(frame)} images is in the model's split {split!r}; use --split all "
            "to evaluate every image"
        )
    return frame[chosen]
