"""Random changes of the training pictures, as Keras preprocessing layers."""

import keras
import numpy as np
import tensorflow as tf

# Layers draw fewer random tensors than this in a step, so that no two steps share a seed.
_DRAWS_PER_STEP = 64
# Pixels around the picture that `RandomSharpness` looks at and cuts off.
_MARGIN = 2


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
        margin: pixels added on each side of the result, for a later layer to look at.
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
        super().__init__()
        self.image_size = image_size
        self.margin = margin
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
            float32 `[batch, 2, 3]`, the matrix that leads from places (x, y, 1) in the result
            without margin to places (x, y) in the image, pixels.
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
        return tf.reshape(tf.stack(row_x + row_y, axis=1), (-1, 2, 3))

    def transform_images(
        self, images: tf.Tensor, transformation: tf.Tensor, training: bool = True
    ) -> tf.Tensor:
        """Apply transformations to images; what lies outside is filled with the mirrored picture.

        Returns:
            float32 `[batch, size, size, channels]`, with `size = image_size + 2 * margin`.
        """
        # Compiled by XLA, these lines are four times as fast as ImageProjectiveTransformV3, which
        # finds the place anew for each channel.
        side, channels = images.shape[1], images.shape[3]
        steps = tf.range(self.image_size + 2 * self.margin, dtype=tf.float32) - self.margin
        flat = tf.reshape(images, (-1, side * side, channels))

        def place(row: tf.Tensor) -> tf.Tensor:
            by_x, by_y, start = tf.unstack(row[:, :, None, None], axis=1)
            return by_x * steps + by_y * steps[:, None] + start

        def inside(place: tf.Tensor) -> tf.Tensor:
            place = tf.math.floormod(tf.cast(place, tf.int32), 2 * side)
            return tf.minimum(place, 2 * side - 1 - place)

        def pixels(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.gather(flat, y * side + x, batch_dims=1), tf.float32)

        x, y = place(transformation[:, 0]), place(transformation[:, 1])
        left, up = tf.floor(x), tf.floor(y)
        right, down = (x - left)[..., None], (y - up)[..., None]
        x0, x1, y0, y1 = inside(left), inside(left + 1), inside(up), inside(up + 1)
        top = pixels(x0, y0) * (1 - right) + pixels(x1, y0) * right
        bottom = pixels(x0, y1) * (1 - right) + pixels(x1, y1) * right
        return top * (1 - down) + bottom * down


class RandomColor(keras.layers.Layer):
    """Change brightness, contrast and the colour of the light of each picture, as a camera would.

    Keras's RandomBrightness and RandomContrast, one after the other, take five times as long.

    Args:
        brightness: largest change, as a share of the full range, in [0, 1].
        contrast: largest relative change of the distance from a channel's mean, in [0, 1].
        color_cast: largest relative change of a channel, in [0, 1).
    """

    def __init__(self, *, brightness: float, contrast: float, color_cast: float) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast
        self.color_cast = color_cast

    def get_random_transformation(
        self, images: tf.Tensor, training: bool = True, seed: StatelessSeed | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Draw what is added to each image, and the factors of its contrast and of its channels.

        Returns:
            float32 `[batch, 1, 1, 1]` twice, and `[batch, 1, 1, 3]`.
        """

        def uniform(limit: float, channels: int) -> tf.Tensor:
            shape, limit = (tf.shape(images)[0], 1, 1, channels), limit if training else 0.0
            return keras.random.uniform(shape, -limit, limit, seed=seed)

        added = uniform(self.brightness * 255, 1)
        return added, 1 + uniform(self.contrast, 1), 1 + uniform(self.color_cast, 3)

    def transform_images(
        self,
        images: tf.Tensor,
        transformation: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
        training: bool = True,
    ) -> tf.Tensor:
        """Apply the changes; float32 of the same shape, 0..255."""
        added, contrast, cast = transformation
        # Every fourth pixel of every fourth row tells the mean well enough.
        mean = tf.reduce_mean(images[:, ::4, ::4], axis=(1, 2), keepdims=True)
        offset = (mean * (1 - contrast) + added * contrast) * cast
        return tf.clip_by_value(images * (contrast * cast) + offset, 0.0, 255.0)


class RandomSharpness(keras.layers.Layer):
    """Blur or sharpen each picture by a random amount.

    The copies of a data set differ in sharpness; a model should not. Keras's layer of this name
    blurs with a kernel too narrow for that.

    Args:
        amount: 1 goes from fully smoothed (a Gaussian of about 1.2 pixels) to twice the detail.
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def get_random_transformation(
        self, images: tf.Tensor, training: bool = True, seed: StatelessSeed | None = None
    ) -> tf.Tensor:
        """Draw a share of the fine detail to take away for each image, float32 `[batch]`."""
        limit = self.amount if training else 0.0
        return keras.random.uniform((tf.shape(images)[0],), -limit, limit, seed=seed)

    def transform_images(
        self, images: tf.Tensor, transformation: tf.Tensor, training: bool = True
    ) -> tf.Tensor:
        """Take away or add fine detail; float32 0..255, two pixels less on each side."""
        inner = images[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        # The weights of two means over 3 x 3 pixels, which come close to a Gaussian.
        rows = [images[:, first : first + inner.shape[1]] for first in range(5)]
        smooth = (rows[0] + 2 * rows[1] + 3 * rows[2] + 2 * rows[3] + rows[4]) / 9
        columns = [smooth[:, :, first : first + inner.shape[2]] for first in range(5)]
        smooth = (columns[0] + 2 * columns[1] + 3 * columns[2] + 2 * columns[3] + columns[4]) / 9
        changed = inner + transformation[:, None, None, None] * (smooth - inner)
        return tf.clip_by_value(changed, 0.0, 255.0)


class Augmentation:
    """A chain of preprocessing layers whose result depends on image, seed and step alone."""

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        self.layers = layers
        # Each by itself: XLA would compute a picture once for each neighbour that smoothing adds.
        self._transforms = [
            tf.function(layer.transform_images, jit_compile=True, autograph=False)
            for layer in layers
        ]

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
        for layer, transform in zip(self.layers, self._transforms, strict=True):
            transformation = layer.get_random_transformation(images, training=True, seed=source)
            images = transform(images, transformation)
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
            margin=_MARGIN if sharpness else 0,
        )
    ]
    if brightness or contrast or color_cast:
        layers.append(RandomColor(brightness=brightness, contrast=contrast, color_cast=color_cast))
    if sharpness:
        layers.append(RandomSharpness(sharpness))
    return Augmentation(layers)
