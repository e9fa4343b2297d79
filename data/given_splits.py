"""Splits that a data set gives: by the names of its tables, a column, or folders of images."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import pandas as pd

from data import DataError
from data.label_tables import LabelTable
from data.table_layouts import SPLIT_COLUMNS, SPLIT_OF, is_ham10000
from support.files import list_names, one_line

# `ISIC2018Training` and `train_labels`
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def split_of_name(name: str) -> str:
    """Return the split that a name contains as a word, empty if it has none or several."""
    found = {SPLIT_OF[word] for word in map(str.lower, _WORD.findall(name)) if word in SPLIT_OF}
    return found.pop() if len(found) == 1 else ""


def without_split(name: str) -> str:
    """Return a name without its words for a split, such as `mel` for `mel_train`."""
    marked = _WORD.sub(lambda word: "\0" if word[0].lower() in SPLIT_OF else word[0], name)
    return re.sub(r"[\s_.-]*\0[\s_.-]*", "", marked)


def split_of_path(path: Path, root: Path) -> str:
    """Return the split that the name of a table, else that of the nearest folder, contains."""
    parts = PurePath(path.relative_to(root)).with_suffix("").parts
    return next(filter(None, map(split_of_name, reversed(parts))), "")


def _tables_of_split(tables: Sequence[LabelTable], root: Path) -> list[LabelTable]:
    """Return the tables of one layout that make up a split, in the order train, val, test.

    Args:
        tables: all tables of labels.
        root: the folder of the data set; its own name says nothing.

    Returns:
        Two or three tables, one of them for training; empty if no or more than one choice of
        tables makes up a split.
    """
    choices = []
    for layout in dict.fromkeys(table.layout for table in tables):
        parts: dict[str, list[LabelTable]] = {"train": [], "val": [], "test": []}
        for table in tables:
            split = split_of_path(table.path, root)
            if split and table.layout == layout:
                parts[split].append(table)
        if _is_split([split for split, found in parts.items() if found]):
            choices.append([found for found in parts.values() if found])
    if len(choices) != 1 or any(len(found) > 1 for found in choices[0]):
        return []
    return [found[0] for found in choices[0]]


def choose_tables(tables: Sequence[LabelTable], root: Path) -> tuple[list[LabelTable], str]:
    """Choose one table of labels, or those that give a split.

    Args:
        tables: all tables of labels of a data set.
        root: its folder.

    Returns:
        The tables, in the order train, val, test; and a line on those that are not used, empty if
        there are none.

    Raises:
        DataError: the tables differ, and neither their names nor their labels tell which to use.
    """
    by_split = _without_twins(tables, lambda table: (table.layout, split_of_path(table.path, root)))
    chosen = _tables_of_split(by_split, root)
    if len(_without_twins(chosen, lambda table: "")) < len(chosen) or not chosen:
        # Equal tables are one, whatever their names.
        chosen = _without_twins(tables, lambda table: "")
        named = [table for table in chosen if is_ham10000(table.path)]
        chosen = named if len(named) == 1 else chosen
        if len(chosen) > 1:
            names = [_describe(table, root) for table in chosen]
            raise DataError(
                f"{root}: expected one table of labels, or one for each of train, validation and "
                f"test, received {list_names(names, 6)}; choose one of these tables in place of "
                "the folder"
            )
    unused = [_describe(table, root) for table in tables if table not in chosen]
    return chosen, f"not used as labels: {list_names(unused, 6)}" if unused else ""


def _describe(table: LabelTable, root: Path) -> str:
    return f"{table.path.relative_to(root)} ({len(table.frame):,} images)"


def _without_twins(
    tables: Sequence[LabelTable], group: Callable[[LabelTable], object]
) -> list[LabelTable]:
    """Keep one of the tables of a group that have equal labels: that with the most columns."""
    kept: list[LabelTable] = []
    seen: list[tuple] = []
    for table in sorted(tables, key=lambda table: -len(table.frame.columns)):
        labels = (group(table), table.labels())
        if labels not in seen:
            seen.append(labels)
            kept.append(table)
    return sorted(kept, key=lambda table: table.path)


def _is_split(names: Sequence[str]) -> bool:
    """Tell whether there is a training split and another."""
    return "train" in names and len(set(names)) > 1


def read_split_column(table: LabelTable) -> tuple[pd.Series | None, str]:
    """Return the split that a column of a table gives, and the name of the column.

    Raises:
        DataError: some rows are in no split, or two columns give different splits.
    """
    result, name = None, ""
    for column in SPLIT_COLUMNS:
        if column not in table.frame:
            continue
        splits = table.frame[column].str.lower().map(SPLIT_OF)
        if not _is_split(splits.dropna().unique().tolist()):
            continue
        if splits.isna().any():
            value = table.frame.loc[splits.isna(), column]
            raise DataError(
                f"{table.path}: expected train, val or test in each row of the column {column}, "
                f"received {value.iloc[0][:50] or 'none'} in line {value.index[0]}; correct the "
                f"column or remove it ({len(value)} in total)"
            )
        if result is not None and not splits.equals(result):
            raise DataError(
                f"{table.path}: expected one column with the split, received {name} and {column} "
                "with different values; remove one of them"
            )
        if result is None:
            result, name = splits, column
    return result, name


def split_of_images(paths: pd.Series, root: Path) -> tuple[pd.Series | None, str]:
    """Return the split that the folders of images give, and a note on it.

    Args:
        paths: image files in the folder; missing where there is none.
        root: the folder of the data set.

    Returns:
        The split of each image, missing where there is no file, and a line that names the folders;
        None and an empty line if there are no such folders.

    Raises:
        DataError: some images are in such folders, but others are not.
    """
    folder_of = {
        folder: _split_folder(folder, root)
        for folder in {PurePath(path).parent for path in paths.dropna()}
    }
    folders = paths.map(lambda path: folder_of[PurePath(path).parent], na_action="ignore")
    splits = folders.map(split_of_name, na_action="ignore")
    if not _is_split([split for split in splits.dropna().unique() if split]):
        return None, ""
    outside = paths[splits.eq("")]
    if len(outside):
        raise DataError(
            f"{root}: expected all images in folders named as splits, such as "
            f"{folders[splits.ne('') & splits.notna()].iloc[0]}, received {len(outside):,} of "
            f"{len(paths):,} elsewhere, such as {PurePath(outside.iloc[0]).relative_to(root)}; "
            "move them, or rename the folders"
        )
    order = list(dict.fromkeys(SPLIT_OF.values()))
    names = sorted({*folders.dropna()}, key=lambda name: (order.index(split_of_name(name)), name))
    return splits, one_line(f"split given by the folders {', '.join(names)}")


def _split_folder(folder: PurePath, root: Path) -> str:
    """Return the name of the nearest folder inside the root that names a split, else an empty."""
    parts = folder.relative_to(root).parts
    return next((name for name in reversed(parts) if split_of_name(name)), "")
