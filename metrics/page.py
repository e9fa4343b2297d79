"""The evaluation as one HTML file that needs nothing else: no network, no other files."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from metrics.classification import SMALL_GROUP, SPECIFICITIES, sensitivity_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { --ink: #1f2933; --faint: #5b6673; --line: #dfe3e8; --tint: #f6f8fa; --warn: #9a5b00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .6rem; padding-top: .6rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
.faint, figcaption { color: var(--faint); font-size: .9rem; }
.notice { border-left: 4px solid #d97706; background: #fff8ec; padding: .5rem .9rem;
  margin: 1rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
  margin: 1.2rem 0; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: .85rem; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { font-weight: 600; border-bottom: 1.5px solid var(--ink); }
th:first-child, td:first-child { text-align: left; }
.facts td { text-align: left; white-space: normal; }
.facts td:first-child { color: var(--faint); width: 9rem; }
td i { color: var(--faint); font-style: normal; font-size: .85em; margin-left: .35em; }
tr.small td { color: var(--faint); }
tr.group td { font-weight: 600; background: var(--tint); }
figure { margin: 1rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr));
  gap: 1rem; }
.gallery figure { margin: 0; }
.gallery img { width: 50%; display: inline-block; vertical-align: top; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3, thead { break-after: avoid; } tr, .tile, .gallery figure { break-inside: avoid; }
  .tiles { grid-template-columns: repeat(4, 1fr); } .wide { overflow: visible; }
  table { font-size: 8.5pt; } th, td { padding: .15rem .3rem; white-space: normal; }
  td i { display: block; margin: 0; white-space: nowrap; } figure img { max-height: 15cm; }
  .gallery { grid-template-columns: repeat(3, 1fr); } }
"""


@dataclass(frozen=True)
class Mistake:
    """A confident mistake for the gallery.

    Attributes:
        image_id: of the picture.
        true: its class.
        predicted: the class it was taken for.
        confidence: probability of that class.
        picture: uint8 `[side, side, 3]`, what the model saw.
        explained: uint8 of the same shape, the picture under its heat map; None without one.
    """

    image_id: str
    true: str
    predicted: str
    confidence: float
    picture: np.ndarray
    explained: np.ndarray | None


def build_page(
    metrics: dict,
    *,
    title: str,
    facts: dict[str, str],
    notes: Sequence[str],
    names: dict[str, str],
    figures: "dict[str, Figure]",
    mistakes: Sequence[Mistake] = (),
) -> str:
    """Lay out an evaluation as a page.

    Args:
        metrics: what `metrics.json` holds.
        title: of the page.
        facts: where the figures come from, by label: model, data, split.
        notes: sentences to read before the figures.
        names: what a class or a subgroup is called in full, by its short name.
        figures: `confusion_matrix`, `roc` and `reliability`.
        mistakes: for the gallery.

    Returns:
        HTML with its style and pictures inside.
    """
    sections = [
        _summary(metrics),
        _section("Each class", _classes(metrics, names), _picture(figures["confusion_matrix"])),
        _section("Ranking", _picture(figures["roc"]), _questions(metrics)),
        _section("Can the probabilities be believed?", _calibration(metrics, figures)),
        _section("Groups of patients and pictures", _subgroups(metrics, names)),
        _section("Does it look at the lesion?", _pointing(metrics)),
        _section("The most confident mistakes", _gallery(mistakes, names)),
    ]
    rows = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>"
        for key, value in facts.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{"".join(f'<p class="notice">{html.escape(note)}</p>' for note in notes)}
<div class="wide"><table class="facts">{rows}</table></div>
{"".join(sections)}
</body>
</html>
"""


def _section(heading: str, *parts: str) -> str:
    return f"<section><h2>{heading}</h2>{''.join(parts)}</section>"


def _summary(metrics: dict) -> str:
    intervals = metrics["intervals"]
    share = f"always {html.escape(metrics['majority_class'])}: {metrics['majority_share']:.3f}"
    tiles = [
        ("balanced accuracy", metrics["balanced_accuracy"], "balanced_accuracy", ""),
        ("accuracy", metrics["accuracy"], "accuracy", share),
        ("macro ROC AUC", metrics["macro_roc_auc"], "macro_roc_auc", ""),
        ("macro F1", metrics["macro_f1"], "macro_f1", ""),
    ]
    cells = "".join(
        f'<div class="tile">{label}<b>{_number(value)}</b><span>{_range(intervals.get(key))}</span>'
        f"<span>{extra}</span></div>"
        for label, value, key, extra in tiles
    )
    return (
        f'<div class="tiles">{cells}</div><p class="faint">Beneath each figure its 95 % interval, '
        "by the bootstrap over lesions (1,000 resamples).</p>"
    )


def _classes(metrics: dict, names: dict[str, str]) -> str:
    keys = ("precision", "recall", "f1", "roc_auc", "average_precision")
    rows = [
        [f"{html.escape(names.get(name, name))} ({html.escape(name)})"]
        + [_number(row[key]) for key in keys]
        + [str(row["support"])]
        for name, row in metrics["per_class"].items()
    ]
    heads = ["diagnosis", "precision", "recall", "F1", "ROC AUC", "average precision", "images"]
    return _table(heads, rows)


def _questions(metrics: dict) -> str:
    intervals = metrics["intervals"]
    rows = []
    for question, label in (("malignant", "malignant or not"), ("melanoma", "melanoma or not")):
        if question not in metrics:
            continue
        figures = metrics[question]
        row = [label, _with_range(figures["roc_auc"], intervals.get(f"{question}_roc_auc"))]
        for share in SPECIFICITIES:
            value = figures["sensitivity_at_specificity"][f"{share:.2f}"]
            row.append(_with_range(value, intervals.get(sensitivity_key(question, share))))
        rows.append(row)
    heads = ["question", "ROC AUC"] + [f"sensitivity at {share:.0%}" for share in SPECIFICITIES]
    return (
        "<h3>What a clinic asks</h3>"
        "<p>Malignant are melanoma, basal cell carcinoma, and actinic keratosis or Bowen's "
        "disease; the score is the sum of their probabilities. Sensitivity at a specificity: the "
        "share of these images found when the threshold is set so that this share of the others is "
        "left in peace.</p>" + _table(heads, rows)
    )


def _calibration(metrics: dict, figures: "dict[str, Figure]") -> str:
    calibration = metrics["calibration"]
    temperature = calibration["temperature"]
    labels = {
        "expected_calibration_error": "expected calibration error (15 bins)",
        "brier_score": "Brier score (0 to 2)",
        "negative_log_likelihood": "negative log-likelihood",
    }
    rows = [
        [label, _number(calibration["before"][key]), _number(calibration["after"][key])]
        for key, label in labels.items()
    ]
    shares = [
        [
            html.escape(name),
            f"{row['true']:.1%}",
            f"{row['predicted']:.1%}",
            f"{row['answered']:.1%}",
        ]
        for name, row in calibration["class_shares"].items()
    ]
    return (
        f"<p>Temperature {temperature:.3f}, fitted to the validation images, kept in the model "
        "file.</p>"
        + _table(["", "before the temperature", "after"], rows)
        + _picture(figures["reliability"])
        + "<h3>What class weights leave behind</h3><p>A model trained to favour rare classes gives "
        "them more probability than their share; one temperature does not mend that.</p>"
        + _table(
            ["class", "share of the images", "mean probability", "share of the answers"], shares
        )
    )


def _subgroups(metrics: dict, names: dict[str, str]) -> str:
    rows = []
    for column, groups in metrics["subgroups"].items():
        rows.append(
            f'<tr class="group"><td colspan="6">{html.escape(names.get(column, column))}</td></tr>'
        )
        for value, row in groups.items():
            counts = [f"{row['images']:,}", f"{row['malignant_images']:,}"]
            cells = [html.escape(names.get(value, value)), *counts]
            cells += [
                _with_range(row[key], row["intervals"][key])
                for key in ("accuracy", "balanced_accuracy", "malignant_sensitivity")
            ]
            kind = ' class="small"' if row["small"] else ""
            rows.append(f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = ["", "images", "malignant", "accuracy", "balanced accuracy", "malignant found"]
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    return (
        "<p>Malignant found: the share of malignant images whose most probable class is a "
        f"malignant one. Groups of fewer than {SMALL_GROUP} images are in grey: their figures say "
        "little. Balanced accuracy is a mean over the classes that occur in the group.</p>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _pointing(metrics: dict) -> str:
    game = metrics["pointing_game"]
    if game is None:
        return (
            "<p>Not measured: no lesion masks were found beside the images, or the model gives no "
            "heat maps.</p>"
        )
    rows = [
        ["peak of the map inside the lesion", _number(game["hit_share"])],
        ["share of the map inside the lesion", _number(game["energy_share"])],
        ["area of the lesion, which is what chance would give", _number(game["chance"])],
    ]
    return (
        "<p>Grad-CAM (Selvaraju et al. 2017) shows which places spoke for the predicted class; the "
        "pointing game (Zhang et al. 2018) asks whether its peak lies inside the lesion, as "
        f"outlined in the masks. {game['images']:,} images; in {game['without_lesion']:,} more the "
        "square holds no part of the lesion.</p>" + _table(["", "mean"], rows)
    )


def _gallery(mistakes: Sequence[Mistake], names: dict[str, str]) -> str:
    if not mistakes:
        return "<p>None.</p>"
    cards = []
    for one in mistakes:
        image_id = html.escape(one.image_id)
        true, predicted = (html.escape(names.get(x, x)) for x in (one.true, one.predicted))
        seen = ""
        if one.explained is not None:
            seen = f'<img alt="where the model looked" src="{_jpeg(one.explained)}">'
        cards.append(
            f'<figure><img alt="{image_id}" src="{_jpeg(one.picture)}">{seen}'
            f"<figcaption>{image_id}: {true}, taken for {predicted} ({one.confidence:.0%})"
            "</figcaption></figure>"
        )
    legend = "What the model saw."
    if seen:
        legend = "Left what the model saw, right where it found signs of the class it named."
    return f'<p>{legend}</p><div class="gallery">{"".join(cards)}</div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table; the cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(interval: Sequence[float] | None) -> str:
    return "no interval" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _with_range(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}<i>{_range(interval)}</i>"


def _picture(figure: "Figure") -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<figure><img alt="" src="data:image/png;base64,{data}"></figure>'


def _jpeg(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
