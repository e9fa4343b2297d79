"""One prediction in words: the texts that people read, in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# At least so many classes are shown with a warning.
FEWEST_SHOWN = 3
MALIGNANT_TITLE = "Malignant or premalignant"
UNKNOWN_MALIGNANT = "It is not known which classes of this model are malignant."

_BAR_WIDTH = 30
_NAME_WIDTH = 40
_SHORT_WARNINGS = {"out_of_distribution": "out of distribution", "uncertain": "uncertain"}


@dataclass(frozen=True)
class Prediction:
    """The prediction of a model for one image.

    Attributes:
        image: its name.
        y_prob: probability by class name.
        malignant: names of the malignant and premalignant classes; empty if unknown.
        malignant_probability: of these classes together, 0..1; None if they are unknown.
        warnings: sentences by kind, from `models.classifier.Classifier.warnings`.
    """

    image: str
    y_prob: Mapping[str, float]
    malignant: Sequence[str]
    malignant_probability: float | None
    warnings: Mapping[str, str]

    @property
    def short_warnings(self) -> list[str]:
        """A word or two for each warning."""
        return [_SHORT_WARNINGS[kind] for kind in self.warnings]

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the most probable classes: so many, but at least three if there is a warning."""
        ranked = sorted(self.y_prob.items(), key=lambda item: -item[1])
        return ranked[: max(count, FEWEST_SHOWN) if self.warnings else count]


def format_percent(probability: float) -> str:
    """Format a probability so that it never reads as impossible or certain."""
    if 0 < probability < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < probability < 1 else f"{100 * probability:.1f} %"


def heading(title: str, confidence: float, *, uncertain: bool, out_of_distribution: bool) -> str:
    """Return the heading of a prediction, which states no diagnosis as a fact.

    Args:
        title: name of the predicted class.
        confidence: its probability, 0..1.
        uncertain: whether the confidence is below the threshold of the model.
        out_of_distribution: whether the image is unlike those that the model was trained on.
    """
    if out_of_distribution:
        return "Does not look like a dermatoscopic image"
    if uncertain:
        return "Uncertain"
    return f"Model's prediction: {title}, {format_percent(confidence)}"


def malignant_text(probability: float | None, malignant: Sequence[str]) -> str:
    """Say how probable the malignant and premalignant classes are together.

    Args:
        probability: their sum, 0..1; None if it is not known which they are.
        malignant: their names.
    """
    if probability is None:
        return UNKNOWN_MALIGNANT
    return f"{MALIGNANT_TITLE} ({', '.join(malignant)}): {format_percent(probability)} together"


def format_block(prediction: Prediction, *, top_k: int, titles: Mapping[str, str]) -> str:
    """Format a prediction as a block: heading, malignant classes, bars, warnings.

    Args:
        prediction: for one image.
        top_k: number of classes to show; see `Prediction.top`.
        titles: what to call a class, by its name; others are shown by their name.
    """
    top = prediction.top(top_k)
    labels = [f"{titles[label]} ({label})" if label in titles else label for label, _ in top]
    total, kinds = prediction.malignant_probability, prediction.warnings
    first = heading(
        labels[0],
        top[0][1],
        uncertain="uncertain" in kinds,
        out_of_distribution="out_of_distribution" in kinds,
    )
    lines = [prediction.image, f"  {first}", f"  {malignant_text(total, prediction.malignant)}"]
    if total is not None:
        bar = _bar(total)
        lines.append(f"  {bar}{'░' * (_BAR_WIDTH - len(bar))}")
    lines.append("")
    width = max(map(len, labels))
    for label, (_, probability) in zip(labels, top, strict=True):
        row = f"  {label:<{width}}  {format_percent(probability):>8}  {_bar(probability)}"
        lines.append(row.rstrip())
    return "\n".join(lines + [f"  warning: {text}" for text in kinds.values()])


def format_line(prediction: Prediction, *, top_k: int) -> str:
    """Format a prediction as one line below `line_heading`.

    Args:
        prediction: for one image.
        top_k: number of classes to show; see `Prediction.top`.
    """
    name, total = prediction.image, prediction.malignant_probability
    short = name if len(name) <= _NAME_WIDTH else "…" + name[1 - _NAME_WIDTH :]
    malignant = "unknown" if total is None else format_percent(total)
    cells = [f"{label:<5} {format_percent(p):>8}" for label, p in prediction.top(top_k)]
    cells += prediction.short_warnings
    return f"{short:<{_NAME_WIDTH}}  {malignant:>9}  " + "   ".join(cells)


def line_heading() -> str:
    """Return the headings of the columns of `format_line`."""
    columns = f"{'image':<{_NAME_WIDTH}}  {'malignant':>9}  most probable classes"
    return f"{columns}, as predicted by the model"


def _bar(probability: float) -> str:
    return "█" * round(min(probability, 1.0) * _BAR_WIDTH)
