"""How much memory an untrusted model takes, found before any of it is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from models import MAX_BYTES, ModelError

# For one image; the first layer of a model for the largest images has so many.
_MAX_OUTPUTS = 1 << 27
_BYTES = 4  # of a float32


def check_footprint(config: Mapping[str, Any]) -> None:
    """Refuse a model whose weights or outputs take too much memory.

    A file of ten megabytes can describe a layer of as many gigabytes, which Keras would fill with
    initial values before it reads the weights.

    Args:
        config: the JSON values of `config.json`, whose classes have been checked; changed.

    Raises:
        ModelError: it takes too much; the message names no file.
    """
    # Keras remembers, for each thread, the variables that still need values, and fills them later.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_check_footprint, config).result()


def _check_footprint(config: Mapping[str, Any]) -> None:
    # Within this scope, variables have shapes, but no values.
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(
            {**config, "compile_config": None}, safe_mode=True
        )
    if not isinstance(model, keras.Model):
        return
    size = _BYTES * sum(math.prod(variable.shape) for variable in model.variables)
    if size > MAX_BYTES:
        raise ModelError(f"expected at most {MAX_BYTES:,} bytes of weights, received {size:,}")
    for layer in _all_layers(model):
        for tensor in keras.tree.flatten(layer.output):
            count = math.prod(side for side in tensor.shape if side is not None)
            if count > _MAX_OUTPUTS:
                raise ModelError(
                    f"expected at most {_MAX_OUTPUTS:,} outputs of a layer per image, received "
                    f"{count:,} of {layer.name[:100]}"
                )


def _all_layers(model: keras.Model) -> Iterator[keras.Operation]:
    for layer in getattr(model, "operations", model.layers):
        yield layer
        if isinstance(layer, keras.Model) and layer.built:
            yield from _all_layers(layer)
