"""Random changes of the training pictures, as Keras preprocessing layers."""

import keras
import numpy as np
import tensorflow as tf

# Layers draw fewer random tensors than this in a step, so that no two steps share a seed.
_DRAWS_PER_STEP = 64


class StatelessSeed(keras.random.SeedGenerator):
    """The seeds of one step, a pure function of a start value.

    A plain `SeedGenerator` counts its calls, so that in a parallel `map` thread timing would
    decide which picture gets which seed.
    """

    def __init__(self, seed: int | tf.Tensor, step: int | tf.Tensor) -> None:
        # Without super().__init__(): it would create the counting variable.
        self._seed = tf.cast(seed, tf.int32)
        self._step = tf.cast(step, tf.int32)
        self._draws = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Return the next seed, int32 `[2]`."""
        self._draws += 1
        return tf.stack([self._seed, self._step * _DRAWS_PER_STEP + self._draws])


class RandomAffine(keras.layers.Layer):
    """Flip, rotate, zoom, shift and scale to the input size, all in one interpolation.

    One after the other, Keras's RandomRotation, RandomZoom and RandomTranslation would
    interpolate three times and blur what training sees, but not what validation sees.

    Args:
        image_size: side of the result, pixels.
        rotation_degrees: largest turn to either side; 180 is any angle.
        flip: whether half of the pictures are mirrored.
        view: smallest and largest side of the visible part, as shares of the picture's side.
        shift: how far the visible part may reach over the edge, as a share of the side, in [0, 1).
    """

    def __init__(
        self,
        *,
        image_size: int,
        rotation_degrees: float,
        flip: bool,
        view: tuple[float, float],
        shift: float,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.rotation = rotation_degrees * np.pi / 180
        self.flip = flip
        self.view = view
        self.shift = shift

    def get_random_transformation(
        self, images: tf.Tensor, training: bool = True, seed: StatelessSeed | None = None
    ) -> tf.Tensor:
        """Draw one transformation for each image.

        Args:
            images: `[batch, side, side, channels]`.
            training: without it, the whole picture upright.
            seed: source of the random numbers.

        Returns:
            float32 `[batch, 8]`, the matrix that leads from places in the result to places in the
            image, as `tf.raw_ops.ImageProjectiveTransformV3` takes it.
        """
        count, side = tf.shape(images)[0], tf.cast(tf.shape(images)[1], tf.float32)

        def uniform(limit: float) -> tf.Tensor:
            limit = limit if training else 0.0
            return keras.random.uniform((count,), -limit, limit, seed=seed)

        angle = uniform(self.rotation)
        middle, half = (self.view[1] + self.view[0]) / 2, (self.view[1] - self.view[0]) / 2
        view = middle + uniform(half) if training else tf.ones((count,))
        mirror = tf.sign(uniform(1.0) + 1e-9) if self.flip and training else tf.ones((count,))
        # A part smaller than the picture may lie anywhere in it.
        reach = (tf.maximum(1 - view, 0.0) / 2 + self.shift) * side
        move_x, move_y = uniform(1.0) * reach, uniform(1.0) * reach
        scale = view * side / self.image_size
        cos, sin = scale * tf.cos(angle), scale * tf.sin(angle)
        # About the centres of both: in = matrix (out - centre_out) + centre_in + move.
        centre_out, centre_in = (self.image_size - 1) / 2, (side - 1) / 2
        row_x = [cos * mirror, -sin, centre_in + move_x - centre_out * (cos * mirror - sin)]
        row_y = [sin * mirror, cos, centre_in + move_y - centre_out * (sin * mirror + cos)]
        zero = tf.zeros((count,))
        return tf.stack([*row_x, *row_y, zero, zero], axis=1)

    def transform_images(
        self, images: tf.Tensor, transformation: tf.Tensor, training: bool = True
    ) -> tf.Tensor:
        """Apply transformations to images; what lies outside is filled with the mirrored picture.

        Returns:
            float32 `[batch, image_size, image_size, channels]`.
        """
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(images, tf.float32),
            transforms=transformation,
            output_shape=[self.image_size, self.image_size],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="REFLECT",
        )


class _RandomAmount(keras.layers.Layer):
    """A change by amounts drawn evenly from -amount to amount."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def _draw(self, shape: tuple, training: bool, seed: StatelessSeed | None) -> tf.Tensor:
        limit = self.amount if training else 0.0
        return keras.random.uniform(shape, -limit, limit, seed=seed)


class RandomSharpness(_RandomAmount):
    """Blur or sharpen each picture by a random amount.

    The copies of a data set differ in sharpness; a model should not. Keras's layer of this name
    blurs with a kernel too narrow for that.

    Args:
        amount: 1 goes from fully smoothed (a Gaussian of about 1.2 pixels) to twice the detail.
    """

    def get_random_transformation(
        self, images: tf.Tensor, training: bool = True, seed: StatelessSeed | None = None
    ) -> tf.Tensor:
        """Draw a share of the fine detail to take away for each image, float32 `[batch]`."""
        return self._draw((tf.shape(images)[0],), training, seed)

    def transform_images(
        self, images: tf.Tensor, transformation: tf.Tensor, training: bool = True
    ) -> tf.Tensor:
        """Take away or add fine detail; float32 of the same shape, 0..255."""
        # Two means over 3 x 3 pixels come close to a Gaussian, and cost less.
        smooth = tf.nn.avg_pool2d(tf.nn.avg_pool2d(images, 3, 1, "SAME"), 3, 1, "SAME")
        changed = images + transformation[:, None, None, None] * (smooth - images)
        return tf.clip_by_value(changed, 0.0, 255.0)


class RandomColorCast(_RandomAmount):
    """Scale the colour channels of each picture by random factors, as another lamp would.

    Args:
        amount: largest relative change of a channel, in [0, 1).
    """

    def get_random_transformation(
        self, images: tf.Tensor, training: bool = True, seed: StatelessSeed | None = None
    ) -> tf.Tensor:
        """Draw a factor for each channel of each image, float32 `[batch, 1, 1, 3]`."""
        return 1 + self._draw((tf.shape(images)[0], 1, 1, 3), training, seed)

    def transform_images(
        self, images: tf.Tensor, transformation: tf.Tensor, training: bool = True
    ) -> tf.Tensor:
        """Scale the channels; float32 of the same shape, 0..255."""
        return tf.clip_by_value(images * transformation, 0.0, 255.0)


class Augmentation:
    """A chain of preprocessing layers whose result depends on image, seed and step alone."""

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        self.layers = layers

    def __call__(self, images: tf.Tensor, *, seed: int, step: int | tf.Tensor) -> tf.Tensor:
        """Change a batch.

        Args:
            images: uint8 or float32 `[batch, side, side, 3]`, 0..255.
            seed: of the training run.
            step: number of the batch since the start of training.

        Returns:
            float32 `[batch, image_size, image_size, 3]`, 0..255.
        """
        source = StatelessSeed(seed, step)
        for layer in self.layers:
            transformation = layer.get_random_transformation(images, training=True, seed=source)
            images = layer.transform_images(images, transformation, training=True)
        return images


def build_augmentation(
    *,
    image_size: int,
    rotation_degrees: float = 0.0,
    flip: bool = False,
    view: tuple[float, float] = (1.0, 1.0),
    shift: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    color_cast: float = 0.0,
    sharpness: float = 0.0,
) -> Augmentation:
    """Build the augmentation of training pictures.

    Args:
        image_size: side of the model's input, pixels.
        rotation_degrees: largest turn to either side; 180 is any angle.
        flip: whether half of the pictures are mirrored (with any angle, that is both flips).
        view: smallest and largest side of the visible part, as shares of the picture's side.
        shift: how far the visible part may reach over the edge, as a share of the side, in [0, 1).
        brightness: largest change, as a share of the full range, in [0, 1].
        contrast: largest relative change, in [0, 1].
        color_cast: largest relative change of a colour channel, in [0, 1).
        sharpness: share of the fine detail taken away or added at most.

    Returns:
        A callable from stored uint8 batches to float32 batches of the input size.
    """
    layers: list[keras.layers.Layer] = [
        RandomAffine(
            image_size=image_size,
            rotation_degrees=rotation_degrees,
            flip=flip,
            view=view,
            shift=shift,
        )
    ]
    if brightness:
        layers.append(keras.layers.RandomBrightness(brightness, value_range=(0, 255)))
    if contrast:
        layers.append(keras.layers.RandomContrast(contrast, value_range=(0, 255)))
    if color_cast:
        layers.append(RandomColorCast(color_cast))
    if sharpness:
        layers.append(RandomSharpness(sharpness))
    return Augmentation(layers)
