"""Tables that say which artifacts, such as hair or a ruler, are in the images of a data set."""

import os
from collections.abc import Sequence

from data import DataError, warn
from data.folders import list_data_folder
from data.label_tables import image_ids as ids_of
from data.table_layouts import IMAGE_COLUMNS, PLAIN, is_artifacts, table_layout
from data.tables import Table, read_table

_VALUES = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def read_artifacts(
    data_dir: str | os.PathLike, image_ids: Sequence[str]
) -> dict[str, list[bool | None]]:
    """Read which artifacts are in which images, from `artifacts.csv` or `artefacts.csv`.

    Args:
        data_dir: folder of the data set, searched with all its subfolders, or one table in it.
        image_ids: of the images.

    Returns:
        By artifact, which are the columns of 0 and 1 of these tables, whether it is in each image,
        None where no table says it. Empty without such a table, or if none names one of these
        images; of a table that cannot be used, a warning.
    """
    folder = list_data_folder(data_dir)
    found: dict[str, dict[str, bool]] = {}
    for file in folder.tables:
        if not is_artifacts(file):
            continue
        try:
            table = read_table(file)
            columns = {} if table_layout(table.header, file) else _read_columns(table)
        except DataError as error:
            warn(f"artifacts are not measured: {error}")
            continue
        if not columns:
            warn(
                f"artifacts are not measured: {file}: expected the column image and columns of 0/1"
            )
        for name, values in columns.items():
            found[name] = values | found.get(name, {})
    known = {image_id for values in found.values() for image_id in values}
    if known.isdisjoint(image_ids):
        return {}
    return {name: [values.get(i) for i in image_ids] for name, values in found.items()}


def _read_columns(table: Table) -> dict[str, dict[str, bool]]:
    """Return the values of each column of 0 and 1, by image; empty cells are left out."""
    images = table.column(*IMAGE_COLUMNS[PLAIN])
    if images is None:
        return {}
    ids, columns = ids_of(images), {}
    for name in dict.fromkeys(filter(None, table.header)):
        values = [value.lower() for value in table.column(name)]
        if any(values) and {*values} - {""} <= {*_VALUES}:
            pairs = zip(ids, values, strict=True)
            columns[name] = {image: _VALUES[value] for image, value in pairs if value}
    return columns
