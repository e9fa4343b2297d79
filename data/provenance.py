"""Where images come from: the source of each image, and which sources a model was trained on."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pandas as pd

from data.classes import ModelClasses, scheme_of_model
from data.known import KnownImages, is_known
from data.sources import read_dataset
from data.table_layouts import MAX_SOURCES
from support.files import one_line

# Longer names are cut, so that they fit into a model file.
_MAX_LENGTH = 200
# What the rarest of too many sources are called together.
OTHERS = "other sources"


class TrainedModel(KnownImages, ModelClasses, Protocol):
    """What the description of a model says about what it was trained on."""

    sources: Mapping[str, int]
    data_name: str


def name_folder(data_dir: str | os.PathLike) -> str:
    """Return the name of a data folder, or of the folder of a table, without its path."""
    path = Path(os.path.abspath(data_dir))
    return _clean((path.parent if path.is_file() else path).name)


def name_sources(frame: pd.DataFrame, default: str) -> pd.Series:
    """Return the source of each image.

    Args:
        frame: of a `data.sources.Dataset`.
        default: the source of images without one, such as the name of the data folder.

    Returns:
        str, under the index of the frame: one line of at most 200 characters each.
    """
    if "source" not in frame:
        return pd.Series(_clean(default), index=frame.index, dtype=str)
    found = frame["source"].fillna("")
    names = {name: _clean(name) or _clean(default) for name in found.unique()}
    return found.map(names).astype(str)


def count_sources(frame: pd.DataFrame, default: str) -> dict[str, int]:
    """Count the images of each source.

    Args:
        frame: of a `data.sources.Dataset`, or rows of several.
        default: as for `name_sources`.

    Returns:
        Number of images by source, the most frequent first, and those of the same number by name.
        Of more than `MAX_SOURCES`, the rarest are counted together as `OTHERS`, at the end. Images
        of an unknown source, where there is no default, are not counted.
    """
    counts = name_sources(frame, default).value_counts().drop("", errors="ignore")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = ranked if len(ranked) <= MAX_SOURCES else ranked[: MAX_SOURCES - 1]
    result = {name: int(count) for name, count in kept}
    if rest := sum(count for _, count in ranked[len(kept) :]):
        result[OTHERS] = result.get(OTHERS, 0) + int(rest)
    return result


def compare_sources(
    frame: pd.DataFrame, data_dir: str, model: TrainedModel
) -> tuple[list[str], dict[str, bool | None]]:
    """Return the source of each image, if it makes a difference to measure them apart.

    Args:
        frame: images of the data folder.
        data_dir: the folder, or the table of labels.
        model: its description.

    Returns:
        The source of each image, and by source whether the model was trained on it, None if that
        is not known. Both are empty unless there are several sources, or one on which the model
        was not trained.
    """
    default = name_folder(data_dir) or "unknown"
    trained = _find_trained(frame, data_dir, default, model)
    if len(trained) < 2 and False not in trained.values():
        return [], {}
    return name_sources(frame, default).tolist(), trained


def _find_trained(
    frame: pd.DataFrame, data_dir: str, default: str, model: TrainedModel
) -> dict[str, bool | None]:
    """Tell which sources a model was trained on: by their names, or by their images.

    A model may know a source under another name, such as that of the folder of its training. So
    all images of the data folder count, also those that are in no test split since they are known.
    """
    names = name_sources(frame, default).unique()
    by_name = {name.casefold() for name in model.sources or model.data_name.split(" + ")} - {""}
    known = {name for name in names if name.casefold() in by_name}
    if len(known) < len(names):
        with warnings.catch_warnings():
            # They have been shown when the folder was read for the first time.
            warnings.simplefilter("ignore")
            whole = read_dataset(data_dir, scheme_of_model(model)).frame
        for rows in (frame, whole):
            known |= set(name_sources(rows[is_known(rows, model, ("train",))], default))

    # Models of older formats know the folders of their training only.
    certain: set[str] = set()
    if model.sources:
        certain = set(names)
    elif by_name:
        certain = {default}
    trained_on: dict[str, bool | None] = dict.fromkeys(names)
    trained_on |= dict.fromkeys((name for name in names if name in certain), False)
    return trained_on | dict.fromkeys(known, True)


def _clean(name: str) -> str:
    return one_line(name)[:_MAX_LENGTH].strip()
