"""Random augmentation with what dermatoscopes add to an image: hair, rulers, vignettes, noise."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from data.artifact_masks import draw_masks

# Masks and patterns are made once and drawn from: made anew, they would cost more than a training
# step. Each mask comes in eight orientations.
_MASKS = 96
_PATTERNS, _SHIFTS = 16, 64
# A standard deviation in a pattern.
_UNIT = 32
# Black and light brown hair, RGB.
_DARKEST, _LIGHTEST = (15.0, 10.0, 10.0), (110.0, 85.0, 65.0)


class RandomArtifacts:
    """Draw hair or a ruler over some images, and dark corners around some.

    A model that has never seen them takes them for a structure of the lesion. The recall of
    melanomas should not depend on the hair of the patient or on the dermatoscope.

    Args:
        size: side length of the images, pixels.
        hair: fraction of the images with hair or a ruler.
        vignette: fraction of the images with dark corners, or with the round black border of a
            dermatoscope.
    """

    def __init__(self, *, size: int, hair: float, vignette: float) -> None:
        self.size = size
        self.hair = hair
        self.vignette = vignette
        self._masks = draw_masks(_MASKS, size)

    def get_random_transformation(
        self, images: tf.Tensor, *, seed: keras.random.SeedGenerator
    ) -> tuple[tf.Tensor, ...]:
        """Draw what is added to each image.

        Returns:
            The index of a mask, int32 `[batch]`, and which of three flips it undergoes, bool
            `[batch, 3]`; how much the mask covers, `[batch]`, and in which color, `[batch, 3]`; how
            dark the corners are, `[batch]`, where they begin, `[batch]`, over which distance they
            darken, `[batch]`, and the center, `[batch, 2]`, as fractions of half the side length.
        """
        count = tf.shape(images)[0]

        def uniform(low: float, high: float, *shape: int) -> tf.Tensor:
            return keras.random.uniform((count, *shape), low, high, seed=seed)

        def some(fraction: float) -> tf.Tensor:
            return tf.cast(uniform(0.0, 1.0) < fraction, tf.float32)

        mask = tf.cast(uniform(0.0, _MASKS), tf.int32)
        flips = uniform(-1.0, 1.0, 3) > 0
        cover = some(self.hair) * uniform(0.6, 1.0)
        lightness = uniform(0.0, 1.0, 1) ** 2
        color = tf.constant(_DARKEST) * (1 - lightness) + tf.constant(_LIGHTEST) * lightness
        darkness = some(self.vignette) * uniform(0.3, 1.0)
        radius, fade, center = uniform(0.75, 1.2), uniform(0.02, 0.6), uniform(-0.15, 0.15, 2)
        return mask, flips, cover, color, darkness, radius, fade, center

    def transform_images(
        self, images: tf.Tensor, transformation: tuple[tf.Tensor, ...]
    ) -> tf.Tensor:
        """Draw the artifacts; float32 of the same shape, 0..255."""
        index, flips, cover, color, darkness, radius, fade, center = transformation
        mask = tf.gather(tf.constant(self._masks), tf.minimum(index, _MASKS - 1))
        for flip, flipped in enumerate(
            (
                lambda m: tf.transpose(m, (0, 2, 1)),
                lambda m: tf.reverse(m, [1]),
                lambda m: tf.reverse(m, [2]),
            )
        ):
            mask = tf.where(flips[:, flip, None, None], flipped(mask), mask)
        covered = tf.cast(mask, tf.float32) * (cover[:, None, None] / 255)
        steps = (tf.range(self.size, dtype=tf.float32) + 0.5) * (2 / self.size) - 1
        x, y = ((steps[None] - center[:, axis, None]) / radius[:, None] for axis in (0, 1))
        distance = tf.sqrt(x[:, None, :] ** 2 + y[:, :, None] ** 2)
        dark = tf.clip_by_value((distance - 1) / fade[:, None, None], 0.0, 1.0)
        light = 1 - darkness[:, None, None] * dark
        seen = (light * (1 - covered))[..., None]
        return images * seen + (light * covered)[..., None] * color[:, None, None, :]


class RandomNoise:
    """Add the noise of a camera to each image.

    Args:
        size: side length of the images, pixels.
        noise: largest standard deviation, in levels of 255.
    """

    def __init__(self, *, size: int, noise: float) -> None:
        self.size = size
        self.noise = noise
        shape = (_PATTERNS, size + _SHIFTS, size + _SHIFTS, 3)
        patterns = np.random.default_rng(0).standard_normal(shape, np.float32)
        self._patterns = np.clip(np.rint(patterns * _UNIT), -127, 127).astype(np.int8)

    def get_random_transformation(
        self, images: tf.Tensor, *, seed: keras.random.SeedGenerator
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draw the noise of each image.

        Returns:
            Its pattern, int8 `[batch, size, size, 3]`, and its factor, float32 `[batch]`. Weak
            noise is more frequent.
        """
        count = tf.shape(images)[0]
        pattern = tf.cast(keras.random.uniform((count,), 0.0, _PATTERNS, seed=seed), tf.int32)
        shift = tf.cast(keras.random.uniform((2,), 0.0, _SHIFTS, seed=seed), tf.int32)
        deviation = self.noise * keras.random.uniform((count,), 0.0, 1.0, seed=seed) ** 2
        # Not in `transform_images`: compiled by XLA, it would take forty times as long.
        shifted = tf.slice(
            self._patterns, [0, shift[0], shift[1], 0], [_PATTERNS, self.size, self.size, 3]
        )
        return tf.gather(shifted, tf.minimum(pattern, _PATTERNS - 1)), deviation / _UNIT

    def transform_images(
        self, images: tf.Tensor, transformation: tuple[tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """Add the noise; float32 of the same shape, 0..255."""
        pattern, factor = transformation
        noise = tf.cast(pattern, tf.float32) * factor[:, None, None, None]
        return tf.clip_by_value(images + noise, 0.0, 255.0)
