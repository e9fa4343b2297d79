"""Explaining a prediction: gradient-weighted class activation maps.

Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization* (2017), arXiv:1610.02391.

For a transformer, the heat map is computed from the patch tokens after the last block, arranged in
the grid of their patches. The head averages these tokens, so that each has a gradient (if the head
used a class token, the other tokens of the last block would have none), and the heat map is the
class activation map of Zhou et al., *Learning Deep Features for Discriminative Localization*
(2016), arXiv:1512.04150, of which Grad-CAM is the generalization. By then attention has mixed
information between the patches: Chefer et al., *Transformer Interpretability Beyond Attention
Visualization* (2021), arXiv:2012.09838.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from models import ModelError
from models.bundle import ClassProbabilities


class Explainer:
    """Computes the Grad-CAM heat maps of a model.

    Args:
        model: from `build_model` or `load_model`.

    Raises:
        ModelError: the model has no global average pooling, or does not end in probabilities.
    """

    def __init__(self, model: keras.Model) -> None:
        indices = [
            i
            for i, layer in enumerate(model.layers)
            if isinstance(layer, keras.layers.GlobalAveragePooling2D)
        ]
        if not indices or not isinstance(model.layers[-1], ClassProbabilities):
            raise ModelError(
                "Grad-CAM expects a model with global average pooling that ends in "
                f"ClassProbabilities, received {model.name}; use a model from build_model"
            )
        # The input of the pooling layer is connected to the image even where the backbone is a
        # nested model.
        body = keras.Model(model.inputs, model.layers[indices[-1]].input)
        head = model.layers[indices[-1] : -1]

        @tf.function(reduce_retracing=True)
        def explain(pixels: tf.Tensor, class_indices: tf.Tensor) -> tf.Tensor:
            features = body(pixels, training=False)
            with tf.GradientTape() as tape:
                tape.watch(features)
                logits = features
                for layer in head:
                    logits = layer(logits)
                score = tf.gather(logits, class_indices, axis=1, batch_dims=1)
            gradient = tape.gradient(score, features)
            # Equation 1: the weight of a feature map is the mean of its gradient. Equation 2: the
            # weighted sum, without evidence against the class.
            weight = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
            heat = tf.nn.relu(tf.reduce_sum(weight * features, axis=-1, keepdims=True))
            # Bilinear interpolation of a few cells would draw their edges as diamonds; the cubic
            # one is smooth, but goes a little below zero.
            large = tf.image.resize(heat, tf.shape(pixels)[1:3], method="bicubic")
            return tf.nn.relu(large[..., 0])

        self._explain = explain

    def __call__(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute where each image has evidence for a class.

        Args:
            images: uint8 or float32 `[images, image_size, image_size, 3]`, 0..255.
            class_indices: int `[images]`, the class to explain for each image.

        Returns:
            float32 `[images, image_size, image_size]` in 0..1; the maximum of a heat map is 1, or
            0 if the image has no evidence for the class.
        """
        pixels = tf.cast(images, tf.float32)
        heat = self._explain(pixels, tf.cast(class_indices, tf.int32)).numpy()
        maximum = heat.max(axis=(1, 2), keepdims=True)
        return np.divide(heat, maximum, out=np.zeros_like(heat), where=maximum > 0)
