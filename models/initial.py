"""The initial weights of a model, if they are those of another whole model."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from models import ModelError
from models.applications import find_backbone
from models.bundle import HEAD, get_description
from models.transfer import BACKBONE, copy_resized


def copy_weights(source: keras.Model, target: keras.Model, classes: Mapping[str, str]) -> None:
    """Copy the weights of a trained model to a new one, which may have other classes.

    Args:
        source: from `load_model`.
        target: from `build_model`, of the same architecture, perhaps for another image size;
            receives all weights before the head, and those of the head for some classes.
        classes: for these classes of the target, the class of the source whose part of the head it
            gets; all others keep theirs.

    Raises:
        ModelError: the models have other layers.
    """
    entry = find_backbone(get_description(target).model)
    old, new = ([w for layer in _body(model) for w in layer.weights] for model in (source, target))
    resizable = entry is not None and not entry.takes_any_size
    fit = len(old) == len(new) and all(
        _fits(one.shape, other.shape, resizable) for one, other in zip(old, new, strict=True)
    )
    heads = [model.get_layer(HEAD).get_weights() for model in (source, target)]
    if not fit or [len(head) for head in heads] != [2, 2] or len(heads[0][0]) != len(heads[1][0]):
        raise ModelError(
            f"expected the layers of the model {get_description(target).model}, received others; "
            "start from another model"
        )
    copy_resized(old, new, entry.extra_tokens if resizable else 0)
    names = [get_description(model).class_names for model in (source, target)]
    for new_name, old_name in classes.items():
        i, j = names[0].index(old_name), names[1].index(new_name)
        for old_part, new_part in zip(*heads, strict=True):
            new_part[..., j] = old_part[..., i]
    target.get_layer(HEAD).set_weights(heads[1])


def _body(model: keras.Model) -> list[keras.Layer]:
    """Return the layers before the head."""
    if any(layer.name == BACKBONE for layer in model.layers):
        return [model.get_layer(BACKBONE)]
    return [layer for layer in model.layers if layer.name != HEAD]


def _fits(old: tuple, new: tuple, resizable: bool) -> bool:
    """Tell whether a weight can be copied, for a transformer also resized as a grid of patches."""
    if tuple(old) == tuple(new):
        return True
    return resizable and len(old) == len(new) == 3 and old[::2] == new[::2]
