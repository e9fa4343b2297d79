"""The classes that a model tells apart: the seven of HAM10000, those of the data, or a list."""

import functools
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from data import DataError
from data.class_lists import read_listed_classes
from data.class_names import (
    check_names,
    class_titles,
    diagnosis_of,
    is_malignant,
    spelled_words,
    spelling,
    title_of,
)
from data.ham10000 import CLASS_NAMES, DIAGNOSES, MALIGNANT
from data.labels import find_class, is_subtype
from support.files import list_names


class ModelClasses(Protocol):
    """What the description of a model says about its classes."""

    class_names: Sequence[str]
    class_titles: Mapping[str, str]
    class_aliases: Mapping[str, str]
    malignant: Sequence[str]


@dataclass(frozen=True)
class ClassScheme:
    """The classes that a model tells apart, and which label stands for which.

    Attributes:
        names: in the order of the model's outputs.
        titles: what to call a class in a sentence, such as `melanoma` for `mel`; only those known.
        malignant: the malignant or premalignant classes; empty if unknown.
        aliases: further labels and their class.
    """

    names: tuple[str, ...]
    titles: Mapping[str, str] = field(default_factory=dict)
    malignant: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, label: str) -> str | None:
        """Return the class that a label stands for.

        Args:
            label: as a table or a folder has it. Names and aliases are compared without regard to
                case, outer spaces, and whether words are separated by spaces, `_` or `-`.

        Returns:
            The class of this name, else of this alias, else the one class with the same diagnosis,
            see `data.labels.find_class`; None if there is none, or several have it, or it is a
            subtype, such as `melanoma in situ` for `melanoma`.
        """
        return self.find_name(label) or self._find_by_diagnosis(label)

    def find_name(self, label: str) -> str | None:
        """Return the class whose name or alias a label is, as `find`, but not by its diagnosis."""
        forms = (str, spelling, spelled_words)
        return next(filter(None, (self._find(label, form) for form in forms)), None)

    def _find_by_diagnosis(self, label: str) -> str | None:
        found = self._find(label, diagnosis_of)
        names = [found, *(alias for alias, name in self.aliases.items() if name == found)]
        same = [name for name in names if name and diagnosis_of(name) == diagnosis_of(label)]
        return None if all(is_subtype(name, label) for name in same) else found

    def _find(self, label: str, form: Callable[[str], str | None]) -> str | None:
        key = form(label)
        for index in self._indices[form]:
            if key in index:
                return next(iter(index[key])) if len(index[key]) == 1 else None
        return None

    @functools.cached_property
    def _indices(self) -> dict[Callable[[str], str | None], list[dict[str, set[str]]]]:
        """The classes by their names and by their aliases, in each form in which to compare."""
        indices: dict[Callable, list[dict[str, set[str]]]] = {}
        for form in (str, spelling, spelled_words, diagnosis_of):
            indices[form] = [{}, {}]
            for index, labels in zip(indices[form], (self.names, self.aliases), strict=True):
                for label in labels:
                    if key := form(label):
                        index.setdefault(key, set()).add(self.aliases.get(label, label))
        return indices


HAM10000 = ClassScheme(CLASS_NAMES, DIAGNOSES, MALIGNANT)


def is_ham10000_scheme(classes: ClassScheme | None) -> bool:
    """Tell whether classes are the seven of HAM10000."""
    return classes is not None and set(classes.names) == set(CLASS_NAMES)


def classes_of(labels: Sequence[str], classes: ClassScheme | None) -> list[str]:
    """Return the class of each label, empty where it has none; the label itself without classes."""
    if classes is None:
        return list(labels)
    class_of = {label: classes.find(label) or "" for label in {*labels}}
    return [class_of[label] for label in labels]


def scheme_of_labels(labels: Iterable[str], *, source: str = "") -> ClassScheme:
    """Make a class of each label, in alphabetical order.

    Args:
        labels: of all images; those that differ in case and outer spaces only are one class, under
            its most frequent name.
        source: where they come from, for the message.

    Returns:
        The classes. Which are malignant is known only if it is known of every class.

    Raises:
        DataError: there are fewer than two or more than 1,000, or one is no valid name.
    """
    spellings: dict[str, Counter[str]] = {}
    for label, count in Counter(labels).items():
        label = unicodedata.normalize("NFC", label).strip()
        spellings.setdefault(spelling(label), Counter())[label] += count
    names = [min(found, key=lambda name: (-found[name], name)) for found in spellings.values()]
    names.sort(key=lambda name: (name.casefold(), name))
    check_names(names, source)
    return _make_scheme(names)


def read_class_list(path: str | os.PathLike) -> ClassScheme:
    """Read the classes that a user wants, one a line.

    Each line is `name[,description][,malignant][,other names]`: the name of a class; what to call
    it in a sentence; `malignant` or `benign`; and other labels that stand for it, separated by
    `|`. All but the name may be empty or left out; after `name`, the word `malignant` or `benign`
    may come at once. Semicolons and tabs separate as well. A first line with the names of the
    columns is recognized, and so may come in another order.

    Args:
        path: a text or CSV file.

    Returns:
        The classes in the order of the file. Which are malignant is known only if it is said, or
        known by name, of every class.

    Raises:
        DataError: there is no such file, it is none, or a line cannot be used.
    """
    listed = read_listed_classes(Path(path))
    check_names([item.name for item in listed], str(path))
    return _make_scheme(
        [item.name for item in listed],
        titles={item.name: item.title for item in listed if item.title},
        malignant={item.name: item.malignant for item in listed if item.malignant is not None},
        aliases={alias: item.name for item in listed for alias in item.aliases},
    )


def scheme_of_model(description: ModelClasses) -> ClassScheme:
    """Return the classes of a model.

    Args:
        description: of the model.
    """
    return ClassScheme(
        tuple(description.class_names),
        class_titles(description.class_names, description.class_titles),
        tuple(description.malignant),
        dict(description.class_aliases),
    )


def find_class_index(name: str, description: ModelClasses) -> int:
    """Return the index of a class of a model by its name, in any case, or another name of it.

    Args:
        name: of the class.
        description: of the model.

    Raises:
        DataError: the model has no such class.
    """
    found = scheme_of_model(description).find(name)
    if found is None:
        classes = list_names(description.class_names)
        raise DataError(f"expected a class of the model, {classes}; received {name!r}")
    return description.class_names.index(found)


def _make_scheme(
    names: Sequence[str],
    *,
    titles: Mapping[str, str] | None = None,
    malignant: Mapping[str, bool] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> ClassScheme:
    """Complete what is said of classes with what is known of their names.

    Args:
        names: of the classes.
        titles: of some of them.
        malignant: whether they are malignant or premalignant, of some of them.
        aliases: further labels and their class.
    """
    known = {name: title for name in names if (title := title_of(name))}
    are_malignant = {name: is_malignant(name) for name in names} | dict(malignant or {})
    is_known = None not in are_malignant.values()
    return ClassScheme(
        tuple(names),
        known | dict(titles or {}),
        tuple(name for name in names if is_known and are_malignant[name]),
        dict(aliases or {}),
    )


def melanoma_class(class_names: Iterable[str]) -> str | None:
    """Return the one class that is melanoma, such as `mel` or `Melanoma`; None without one."""
    found = [name for name in class_names if find_class(name) == "mel"]
    return found[0] if len(found) == 1 else None


def binary_tasks(
    class_names: Iterable[str], malignant: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the positive classes of the tasks `malignant` and `melanoma`, where they are known.

    Args:
        class_names: of a model.
        malignant: those that are malignant or premalignant; empty if unknown.
    """
    melanoma = melanoma_class(class_names)
    tasks = {"malignant": tuple(malignant), "melanoma": (melanoma,) if melanoma else ()}
    return {task: positive for task, positive in tasks.items() if positive}
