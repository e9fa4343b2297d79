"""How the tests of the scripts run them."""

import contextlib
import datetime
import io
import os
from pathlib import Path

import pandas as pd

import evaluate

SMALL = ["--image_size", "32", "--batch_size", "8"]


def day_of(run_dir: Path) -> str:
    """Return the day on which a training ended; tests may go on past midnight."""
    written = (run_dir / "history.csv").stat().st_mtime
    return str(datetime.date.fromtimestamp(written))


def run_evaluation(folder: Path, *argv: str) -> Path:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert evaluate.main([*argv]) == 0
    (folder / "output.txt").write_text(out.getvalue())
    return folder


def as_challenge(sample_dir, root) -> pd.DataFrame:
    """Copy a data set into the layout of ISIC 2018, with one more label than images."""
    table = pd.read_csv(sample_dir / "HAM10000_metadata.csv")
    (root / "ISIC2018_Task3_Test_Input").mkdir(parents=True)
    for path in sample_dir.glob("*/*.jpg"):
        os.link(path, root / "ISIC2018_Task3_Test_Input" / path.name)
    columns = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    truth = pd.DataFrame({name: (table["dx"] == name.lower()) * 1.0 for name in columns})
    truth.insert(0, "image", table["image_id"])
    truth.loc[len(truth)] = ["ISIC_0035068", 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    truth.to_csv(root / "ISIC2018_Task3_Test_GroundTruth.csv", index=False)
    groups = table.rename(columns={"image_id": "image"})[["image", "lesion_id"]]
    groups.to_csv(root / "ISIC2018_Task3_Test_LesionGroupings.csv", index=False)
    return table
