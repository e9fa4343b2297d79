"""Random augmentation of training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from data.random_artifacts import RandomArtifacts, RandomNoise

# Upper limit of the random tensors that are drawn in a step, so that no two steps share a seed.
_DRAWS_PER_STEP = 64
# Pixels around the image that `RandomSharpness` reads and cuts off.
_MARGIN = 2


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """The strength of each augmentation; by default none.

    Attributes:
        rotation_degrees: largest rotation in either direction; 180 for any angle.
        flip: whether to mirror half of the images (with any rotation, this covers both axes).
        view: smallest and largest side length of the visible part, as fractions of the image's.
        shift: how far the visible part may extend beyond the edge, as a fraction of the side
            length, in [0, 1).
        brightness: largest change, as a fraction of the full range, in [0, 1].
        contrast: largest relative change, in [0, 1].
        color_cast: largest relative change of a color channel, in [0, 1).
        sharpness: largest fraction of fine detail that is removed or added.
        hair: fraction of the images on which hair or a ruler is drawn.
        vignette: fraction of the images that get dark corners.
        noise: largest standard deviation of the noise that is added, in levels of 255.
    """

    rotation_degrees: float = 0.0
    flip: bool = False
    view: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    color_cast: float = 0.0
    sharpness: float = 0.0
    hair: float = 0.0
    vignette: float = 0.0
    noise: float = 0.0


class StatelessSeed(keras.random.SeedGenerator):
    """The seeds of one step, as a pure function of the training seed and the step.

    A plain `SeedGenerator` counts its calls, so that in a parallel `map` the timing of the threads
    would decide which image gets which seed.
    """

    def __init__(self, seed: int | tf.Tensor, step: int | tf.Tensor) -> None:
        # No super().__init__(): it would create the variable that counts.
        self._seed = tf.cast(seed, tf.int32)
        self._step = tf.cast(step, tf.int32)
        self._draws = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Return the next seed, int32 `[2]`."""
        self._draws += 1
        return tf.stack([self._seed, self._step * _DRAWS_PER_STEP + self._draws])


class RandomAffine:
    """Flip, rotate, zoom, shift and scale to the input size in a single interpolation.

    In sequence, Keras's RandomRotation, RandomZoom and RandomTranslation would interpolate three
    times and blur the training images, but not the validation images.

    Args:
        image_size: side length of the result, pixels.
        rotation_degrees: as in `AugmentationSettings`.
        flip: as in `AugmentationSettings`.
        view: as in `AugmentationSettings`.
        shift: as in `AugmentationSettings`.
        margin: pixels added on each side of the result, for a later transform to read.
    """

    def __init__(
        self,
        *,
        image_size: int,
        rotation_degrees: float,
        flip: bool,
        view: tuple[float, float],
        shift: float,
        margin: int = 0,
    ) -> None:
        self.image_size = image_size
        self.margin = margin
        self.rotation = rotation_degrees * np.pi / 180
        self.flip = flip
        self.view = view
        self.shift = shift

    def get_random_transformation(self, images: tf.Tensor, *, seed: StatelessSeed) -> tf.Tensor:
        """Draw one transformation per image.

        Args:
            images: `[batch, side_length, side_length, channels]`.
            seed: source of the random numbers.

        Returns:
            float32 `[batch, 2, 3]`, matrices from coordinates (x, y, 1) in the result without
            margin to coordinates (x, y) in the image, pixels.
        """
        count = tf.shape(images)[0]
        side_length = tf.cast(tf.shape(images)[1], tf.float32)

        def uniform(limit: float) -> tf.Tensor:
            return keras.random.uniform((count,), -limit, limit, seed=seed)

        angle = uniform(self.rotation)
        middle, half = (self.view[1] + self.view[0]) / 2, (self.view[1] - self.view[0]) / 2
        view = middle + uniform(half)
        mirror = tf.sign(uniform(1.0) + 1e-9) if self.flip else tf.ones((count,))
        # A visible part smaller than the image may be anywhere in it.
        reach = (tf.maximum(1 - view, 0.0) / 2 + self.shift) * side_length
        move_x, move_y = uniform(1.0) * reach, uniform(1.0) * reach
        scale = view * side_length / self.image_size
        cos, sin = scale * tf.cos(angle), scale * tf.sin(angle)
        # About the centers of both: in = matrix (out - center_out) + center_in + move.
        center_out, center_in = (self.image_size - 1) / 2, (side_length - 1) / 2
        row_x = [cos * mirror, -sin, center_in + move_x - center_out * (cos * mirror - sin)]
        row_y = [sin * mirror, cos, center_in + move_y - center_out * (sin * mirror + cos)]
        return tf.reshape(tf.stack(row_x + row_y, axis=1), (-1, 2, 3))

    def transform_images(self, images: tf.Tensor, transformation: tf.Tensor) -> tf.Tensor:
        """Apply transformations to images; outside its edges, the image is mirrored.

        Returns:
            float32 `[batch, size, size, channels]`, with `size = image_size + 2 * margin`.
        """
        # Compiled by XLA, this is four times as fast as ImageProjectiveTransformV3, which computes
        # the coordinates once per channel.
        side_length, channels = images.shape[1], images.shape[3]
        steps = tf.range(self.image_size + 2 * self.margin, dtype=tf.float32) - self.margin
        flat = tf.reshape(images, (-1, side_length * side_length, channels))

        def coordinates(row: tf.Tensor) -> tf.Tensor:
            by_x, by_y, start = tf.unstack(row[:, :, None, None], axis=1)
            return by_x * steps + by_y * steps[:, None] + start

        def mirrored(index: tf.Tensor) -> tf.Tensor:
            index = tf.math.floormod(tf.cast(index, tf.int32), 2 * side_length)
            return tf.minimum(index, 2 * side_length - 1 - index)

        def pixels(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.gather(flat, y * side_length + x, batch_dims=1), tf.float32)

        x, y = coordinates(transformation[:, 0]), coordinates(transformation[:, 1])
        left, up = tf.floor(x), tf.floor(y)
        right, down = (x - left)[..., None], (y - up)[..., None]
        x0, x1, y0, y1 = mirrored(left), mirrored(left + 1), mirrored(up), mirrored(up + 1)
        top = pixels(x0, y0) * (1 - right) + pixels(x1, y0) * right
        bottom = pixels(x0, y1) * (1 - right) + pixels(x1, y1) * right
        return top * (1 - down) + bottom * down


class RandomColor:
    """Change the brightness, contrast and color cast of each image.

    Keras's RandomBrightness and RandomContrast, in sequence, take five times as long.

    Args:
        brightness: as in `AugmentationSettings`.
        contrast: largest relative change of the distance from the mean of a channel, in [0, 1].
        color_cast: as in `AugmentationSettings`.
    """

    def __init__(self, *, brightness: float, contrast: float, color_cast: float) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.color_cast = color_cast

    def get_random_transformation(
        self, images: tf.Tensor, *, seed: StatelessSeed
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Draw the offset of each image and the factors of its contrast and of its channels.

        Returns:
            float32 `[batch, 1, 1, 1]` twice, and `[batch, 1, 1, 3]`.
        """

        def uniform(limit: float, channels: int) -> tf.Tensor:
            shape = (tf.shape(images)[0], 1, 1, channels)
            return keras.random.uniform(shape, -limit, limit, seed=seed)

        added = uniform(self.brightness * 255, 1)
        return added, 1 + uniform(self.contrast, 1), 1 + uniform(self.color_cast, 3)

    def transform_images(
        self, images: tf.Tensor, transformation: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """Apply the changes; float32 of the same shape, 0..255."""
        added, contrast, cast = transformation
        # Every fourth pixel of every fourth row is enough to estimate the mean.
        mean = tf.reduce_mean(images[:, ::4, ::4], axis=(1, 2), keepdims=True)
        offset = (mean * (1 - contrast) + added * contrast) * cast
        return tf.clip_by_value(images * (contrast * cast) + offset, 0.0, 255.0)


class RandomSharpness:
    """Blur or sharpen each image by a random amount.

    Copies of a data set differ in sharpness; the predictions of a model should not. Keras's layer
    of this name blurs with a kernel that is too narrow for that.

    Args:
        amount: 1 ranges from fully smoothed (a Gaussian of about 1.2 pixels) to twice the detail.
    """

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def get_random_transformation(self, images: tf.Tensor, *, seed: StatelessSeed) -> tf.Tensor:
        """Draw the fraction of fine detail to remove from each image, float32 `[batch]`."""
        amount = self.amount
        return keras.random.uniform((tf.shape(images)[0],), -amount, amount, seed=seed)

    def transform_images(self, images: tf.Tensor, transformation: tf.Tensor) -> tf.Tensor:
        """Remove or add fine detail; float32 0..255, two pixels fewer on each side."""
        inner = images[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        # The weights of two successive means over 3 x 3 pixels are close to a Gaussian.
        rows = [images[:, first : first + inner.shape[1]] for first in range(5)]
        smooth = (rows[0] + 2 * rows[1] + 3 * rows[2] + 2 * rows[3] + rows[4]) / 9
        columns = [smooth[:, :, first : first + inner.shape[2]] for first in range(5)]
        smooth = (columns[0] + 2 * columns[1] + 3 * columns[2] + 2 * columns[3] + columns[4]) / 9
        changed = inner + transformation[:, None, None, None] * (smooth - inner)
        return tf.clip_by_value(changed, 0.0, 255.0)


class RandomTransform(Protocol):
    """Draws a random transformation for each image, and applies it."""

    def get_random_transformation(self, images: tf.Tensor, *, seed: StatelessSeed) -> Any:
        """Draw a transformation for each image of a batch."""

    def transform_images(self, images: tf.Tensor, transformation: Any) -> tf.Tensor:
        """Apply transformations to a batch; compiled by XLA."""


class Augmentation:
    """A chain of random transforms whose result depends only on images, seed and step."""

    def __init__(self, transforms: Sequence[RandomTransform]) -> None:
        self._transforms = transforms
        # One function per transform: compiled together, XLA would recompute the affine
        # transformation for each neighbor that smoothing adds.
        self._compiled = [
            tf.function(transform.transform_images, jit_compile=True, autograph=False)
            for transform in transforms
        ]

    def __call__(self, images: tf.Tensor, *, seed: int, step: int | tf.Tensor) -> tf.Tensor:
        """Augment a batch.

        Args:
            images: uint8 or float32 `[batch, side_length, side_length, 3]`, 0..255.
            seed: seed of the training.
            step: index of the batch since the start of training.

        Returns:
            float32 `[batch, image_size, image_size, 3]`, 0..255.
        """
        source = StatelessSeed(seed, step)
        for transform, apply in zip(self._transforms, self._compiled, strict=True):
            transformation = transform.get_random_transformation(images, seed=source)
            images = apply(images, transformation)
        return images


def build_augmentation(settings: AugmentationSettings, image_size: int) -> Augmentation:
    """Build the augmentation of training images.

    Args:
        settings: strength of each augmentation.
        image_size: side length of the model's input, pixels.

    Returns:
        A callable from stored uint8 batches to float32 batches of the input size.
    """
    margin = _MARGIN if settings.sharpness else 0
    transforms: list[RandomTransform] = [
        RandomAffine(
            image_size=image_size,
            rotation_degrees=settings.rotation_degrees,
            flip=settings.flip,
            view=settings.view,
            shift=settings.shift,
            margin=margin,
        )
    ]
    # In the order in which a camera takes them in: what lies on the skin, light, lens, sensor.
    if settings.hair or settings.vignette:
        transforms.append(
            RandomArtifacts(
                size=image_size + 2 * margin, hair=settings.hair, vignette=settings.vignette
            )
        )
    if settings.brightness or settings.contrast or settings.color_cast:
        transforms.append(
            RandomColor(
                brightness=settings.brightness,
                contrast=settings.contrast,
                color_cast=settings.color_cast,
            )
        )
    if settings.sharpness:
        transforms.append(RandomSharpness(settings.sharpness))
    if settings.noise:
        transforms.append(RandomNoise(size=image_size, noise=settings.noise))
    return Augmentation(transforms)
