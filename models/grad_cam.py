"""Where a model looked: gradient-weighted class activation maps.

Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization* (2017), arXiv:1610.02391.

Of a transformer, the map is made of the tokens of its patches after the last block, laid out as the
grid that they come from. The head takes their mean, so that each of them has a gradient (with a
class token for the answer, the last block's other tokens would have none), and the map is the class
activation map of Zhou et al., *Learning Deep Features for Discriminative Localization* (2016),
arXiv:1512.04150, of which Grad-CAM is the generalization. Attention has mixed the places by then:
Chefer et al., *Transformer Interpretability Beyond Attention Visualization* (2021),
arXiv:2012.09838.
"""

import keras
import numpy as np
import tensorflow as tf
from matplotlib import colormaps

from models import ModelError
from models.bundle import ClassProbabilities


class Explainer:
    """Answers what in a picture speaks for a class.

    Args:
        model: from `build_model` or `load_model`.

    Raises:
        ModelError: the model has no global pooling layer, or does not end in probabilities.
    """

    def __init__(self, model: keras.Model) -> None:
        places = [
            place
            for place, layer in enumerate(model.layers)
            if isinstance(layer, keras.layers.GlobalAveragePooling2D)
        ]
        if not places or not isinstance(model.layers[-1], ClassProbabilities):
            raise ModelError(
                "Grad-CAM needs a model with a global average pooling layer that ends in "
                f"ClassProbabilities; {model.name} is none"
            )
        # The pooling layer's input is connected also where the backbone is a model of its own.
        body = keras.Model(model.inputs, model.layers[places[-1]].input)
        head = model.layers[places[-1] : -1]

        @tf.function(reduce_retracing=True)
        def explain(pixels: tf.Tensor, class_index: tf.Tensor) -> tf.Tensor:
            features = body(pixels, training=False)
            with tf.GradientTape() as tape:
                tape.watch(features)
                logits = features
                for layer in head:
                    logits = layer(logits)
                score = tf.gather(logits, class_index, axis=1, batch_dims=1)
            gradient = tape.gradient(score, features)
            # Equation 1: a map's weight is the mean of its gradient; equation 2: what speaks
            # against the class does not show.
            weight = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
            heat = tf.nn.relu(tf.reduce_sum(weight * features, axis=-1, keepdims=True))
            return tf.image.resize(heat, tf.shape(pixels)[1:3], method="bilinear")[..., 0]

        self._explain = explain

    def __call__(self, images: np.ndarray, class_index: np.ndarray) -> np.ndarray:
        """Map which places of the images speak for a class.

        Args:
            images: uint8 or float32 `[batch, side, side, 3]`, 0..255.
            class_index: int `[batch]`, the class to explain for each image.

        Returns:
            float32 `[batch, side, side]` in 0..1, the highest place of each map 1; all 0 where
            nothing speaks for the class.
        """
        pixels = tf.cast(images, tf.float32)
        heat = self._explain(pixels, tf.cast(class_index, tf.int32)).numpy()
        highest = heat.max(axis=(1, 2), keepdims=True)
        return np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0)


def grad_cam(model: keras.Model, images: np.ndarray, class_index: np.ndarray) -> np.ndarray:
    """Explain one batch; see `Explainer`, which serves many."""
    return Explainer(model)(images, class_index)


def overlay(image: np.ndarray, heat: np.ndarray, *, opacity: float = 0.5) -> np.ndarray:
    """Lay a map over its picture in colours, more opaque where it is higher.

    Args:
        image: uint8 `[height, width, 3]`.
        heat: float `[height, width]` in 0..1, from `grad_cam`.
        opacity: of the highest place, in [0, 1].

    Returns:
        uint8 `[height, width, 3]`.
    """
    colours = colormaps["inferno"](heat)[..., :3] * 255
    share = (opacity * heat)[..., None]
    return np.round(image * (1 - share) + colours * share).astype(np.uint8)
