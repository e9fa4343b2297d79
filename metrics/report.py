"""One directory a person can open: figures as JSON, predictions as a table, plots."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def prediction_table(
    images: Sequence[str], y_prob: np.ndarray, class_names: Sequence[str]
) -> "pd.DataFrame":
    """Lay out predictions in the columns that all of the project uses.

    Args:
        images: a name or path for each row.
        y_prob: float `[images, classes]`.
        class_names: of the columns of `y_prob`.

    Returns:
        `image`, `predicted`, `confidence` (the highest probability), and `prob_<class>` columns,
        probabilities to six decimals.
    """
    # Here alone, so that a prediction that writes no table does not wait for pandas.
    import pandas as pd

    table = pd.DataFrame({"image": list(images)})
    table["predicted"] = [class_names[place] for place in y_prob.argmax(axis=1)]
    y_prob = np.round(y_prob.astype(np.float64), 6)
    table["confidence"] = y_prob.max(axis=1)
    for place, name in enumerate(class_names):
        table[f"prob_{name}"] = y_prob[:, place]
    return table


class PredictionWriter:
    """Writes prediction tables piece by piece to a CSV or JSON file, whole or not at all.

    Used as a context manager: the file gets its name when the block ends without an exception.

    Args:
        path: ends in `.csv` or `.json` (a list of objects).

    Raises:
        ValueError: the path has another ending.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".json"):
            raise ValueError(f"--output should end in .csv or .json, received {str(path)!r}")
        self.part = self.path.with_name(self.path.name + ".part")
        self.rows = 0

    def __enter__(self) -> "PredictionWriter":
        # Names of files need not be text.
        self.file = self.part.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        return self

    def write(self, table: "pd.DataFrame") -> None:
        """Append the rows of a table from `prediction_table`."""
        if table.empty:
            return
        if self.path.suffix == ".csv":
            table.to_csv(self.file, index=False, header=self.rows == 0, float_format="%.6f")
        else:
            for number, row in enumerate(table.to_dict(orient="records"), start=self.rows):
                line = json.dumps(row, ensure_ascii=False)
                self.file.write(("[\n" if number == 0 else ",\n") + line)
        self.rows += len(table)

    def __exit__(self, kind: type | None, *_: object) -> None:
        with self.file:
            if self.path.suffix == ".json":
                self.file.write("\n]\n" if self.rows else "[]\n")
        if kind is None:
            os.replace(self.part, self.path)
        else:
            self.part.unlink()


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=110)
    os.replace(part, path)


def write_report(
    output_dir: str | os.PathLike,
    *,
    metrics: dict,
    predictions: "pd.DataFrame",
    figures: "dict[str, Figure]",
    page: str,
) -> None:
    """Write `metrics.json`, `predictions.csv`, `report.html` and the figures into a directory.

    Args:
        output_dir: made if it does not exist; files of the same names are replaced.
        metrics: from `classification_metrics`.
        predictions: from `prediction_table`, further columns allowed.
        figures: by the name of their PNG file without its ending.
        page: from `build_page`.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("metrics.json", json.dumps(metrics, indent=2) + "\n"),
        ("report.html", page),
    ):
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, folder / name)
    with PredictionWriter(folder / "predictions.csv") as writer:
        writer.write(predictions)
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def format_metrics(metrics: dict) -> str:
    """Lay out `classification_metrics` as the table that `evaluate.py` prints."""
    lines = [f"{'class':<8}{'precision':>10}{'recall':>8}{'F1':>8}{'ROC AUC':>9}{'support':>9}"]
    for name, row in metrics["per_class"].items():
        figures = [_cell(row[key]) for key in ("precision", "recall", "f1", "roc_auc")]
        lines.append("{:<8}{:>10}{:>8}{:>8}{:>9}{:>9}".format(name, *figures, row["support"]))
    lines.append("")
    names = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "macro_roc_auc": "macro ROC AUC",
    }
    intervals = metrics.get("intervals", {})
    for key, label in names.items():
        lines.append(f"{label:<20}{_cell(metrics[key]):>7}{_between(intervals.get(key))}")
        if key == "accuracy":
            always = f"always {metrics['majority_class']}"
            lines.append(f"  {always:<18}{metrics['majority_share']:>7.3f}")
    lines.append(f"{'images':<20}{metrics['images']:>7}")
    return "\n".join(lines)


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"   {interval[0]:.3f} to {interval[1]:.3f}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
