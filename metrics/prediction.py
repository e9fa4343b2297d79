"""One prediction in words: the texts that people read, in the terminal and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.numbers import format_level, format_percent

# At least so many classes are shown with a warning.
FEWEST_SHOWN = 3
MALIGNANT_TITLE = "Malignant or premalignant"
UNKNOWN_MALIGNANT = "It is not known which classes of this model are malignant."

_BAR_WIDTH = 30
_NAME_WIDTH = 40
# Names of classes have up to 200 characters: so many are shown in a line of a folder, and in front
# of a bar.
_CLASS_WIDTH = 20
_LABEL_WIDTH = 60
# Above this number of malignant classes, they are counted.
_MOST_NAMED = 5
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
        prediction_set: names of the classes in its prediction set; empty if the model has no sets.
        coverage: fraction of cases in which the set is meant to contain the true class.
        decision: that at an operating point, in a few words and as a sentence; or empty texts.
    """

    image: str
    y_prob: Mapping[str, float]
    malignant: Sequence[str]
    malignant_probability: float | None
    warnings: Mapping[str, str]
    prediction_set: Sequence[str] = ()
    coverage: float | None = None
    decision: tuple[str, str] = ("", "")

    @property
    def short_warnings(self) -> list[str]:
        """A word or two for each warning."""
        return [_SHORT_WARNINGS[kind] for kind in self.warnings]

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the most probable classes: so many, but at least three if there is a warning."""
        ranked = sorted(self.y_prob.items(), key=lambda item: -item[1])
        return ranked[: max(count, FEWEST_SHOWN) if self.warnings else count]


def shorten(text: str, length: int) -> str:
    """Return text of at most so many characters; an ellipsis stands for the rest."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def short_names(names: Sequence[str], length: int) -> list[str]:
    """Return names of at most so many characters; those with the same beginning keep their end."""
    short = [shorten(name, length) for name in names]
    count, end = Counter(short), length // 3
    return [
        f"{shorten(name, length - end)}{name[-end:]}" if count[text] > 1 else text
        for name, text in zip(names, short, strict=True)
    ]


def class_label(name: str, titles: Mapping[str, str]) -> str:
    """Return what to call a class, with its name in parentheses; its name if it has no title."""
    title = titles.get(name, name)
    return name if title.casefold() == name.casefold() else f"{title} ({name})"


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


def malignant_text(probability: float, malignant: Sequence[str]) -> str:
    """Say how probable the malignant and premalignant classes are together.

    Args:
        probability: their sum, 0..1.
        malignant: their names, at least one.
    """
    names = ", ".join(malignant)
    if len(malignant) > _MOST_NAMED:
        names = f"{len(malignant)} classes"
    together = " together" if len(malignant) > 1 else ""
    return f"{MALIGNANT_TITLE} ({names}): {format_percent(probability)}{together}"


def short_warnings(columns: Mapping[str, np.ndarray | None], index: int) -> list[str]:
    """Return a word or two for each warning of an image, from the columns of its predictions.

    Args:
        columns: bool `[images]` by the kind of the warning; None if the model cannot give it.
        index: of the image.
    """
    kinds = _SHORT_WARNINGS.items()
    return [text for kind, text in kinds if columns[kind] is not None and columns[kind][index]]


def prediction_set_names(
    y_prob: np.ndarray, members: np.ndarray, class_names: Sequence[str]
) -> list[str]:
    """Return the classes of a prediction set, the most probable one first.

    Args:
        y_prob: float `[classes]`.
        members: bool `[classes]`.
        class_names: their names.
    """
    return [class_names[i] for i in np.argsort(-y_prob, kind="stable") if members[i]]


def prediction_set_text(names: Sequence[str], coverage: float | None) -> str:
    """Say among which classes the true one is; empty if there are fewer than two.

    Args:
        names: what to call the classes of a prediction set.
        coverage: fraction of cases in which the set is meant to contain the true class.
    """
    if len(names) < 2:
        return ""
    shown = list(names)
    if len(names) > _MOST_NAMED:
        shown = [*names[:_MOST_NAMED], f"and {len(names) - _MOST_NAMED} more"]
    # Names contain commas and "or" themselves.
    return (
        f"Prediction set: {'; '.join(shown)}. Of all sets, also those of one class, "
        f"{format_level(coverage)} contain the true class, on images like the validation images."
    )


def format_block(prediction: Prediction, *, top_k: int, titles: Mapping[str, str]) -> str:
    """Format a prediction as a block: heading, malignant classes and set if known, bars, warnings.

    Args:
        prediction: for one image.
        top_k: number of classes to show; see `Prediction.top`.
        titles: what to call a class, by its name; others are shown by their name.
    """
    top = prediction.top(top_k)
    total, kinds = prediction.malignant_probability, prediction.warnings
    first = heading(
        class_label(top[0][0], titles),
        top[0][1],
        uncertain="uncertain" in kinds,
        out_of_distribution="out_of_distribution" in kinds,
    )
    lines = [prediction.image, f"  {first}"]
    if total is not None:
        bar = _bar(total)
        lines.append(f"  {malignant_text(total, prediction.malignant)}")
        lines.append(f"  {bar}{'░' * (_BAR_WIDTH - len(bar))}")
    likely = [class_label(name, titles) for name in prediction.prediction_set]
    texts = [prediction.decision[1], prediction_set_text(likely, prediction.coverage)]
    if "out_of_distribution" not in kinds:
        lines += [f"  {text}" for text in texts if text]
    lines.append("")
    labels = [shorten(class_label(name, titles), _LABEL_WIDTH) for name, _ in top]
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
    malignant = "" if total is None else f"{format_percent(total):>9}  "
    # Those of all classes, so that the width is the same in all lines.
    labels = short_names(list(prediction.y_prob), _CLASS_WIDTH)
    width, label_of = max(map(len, labels)), dict(zip(prediction.y_prob, labels, strict=True))
    cells = [
        f"{label_of[label]:<{width}} {format_percent(p):>8}" for label, p in prediction.top(top_k)
    ]
    cells += filter(None, [prediction.decision[0], *prediction.short_warnings])
    return f"{short:<{_NAME_WIDTH}}  {malignant}" + "   ".join(cells)


def line_heading(malignant: Sequence[str]) -> str:
    """Return the headings of the columns of `format_line`.

    Args:
        malignant: names of the malignant classes; if unknown, there is no column for them.
    """
    column = f"{'malignant':>9}  " if malignant else ""
    return f"{'image':<{_NAME_WIDTH}}  {column}most probable classes, as predicted by the model"


def _bar(probability: float) -> str:
    return "█" * round(min(probability, 1.0) * _BAR_WIDTH)
