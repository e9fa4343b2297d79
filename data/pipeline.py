"""From image files to batches: decode once, store, shuffle, augment, prefetch."""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from data import DataError
from data.balance import SourceDraws
from data.batches import iterate_batches
from data.memory import fits_in_memory
from support.files import file_state, make_folder


def decode_images(
    paths: Sequence[str],
    *,
    image_size: int,
    store: str = "memory",
    store_dir: str | os.PathLike | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode all images once, into memory or into an array file.

    An array file is used again by later runs with the same files and size. It gets its name when
    it is complete, so an interrupted run leaves nothing behind.

    Args:
        paths: image files.
        image_size: side length of the decoded images, pixels.
        store: `memory`, `file`, or `auto`: memory if the images take at most half of what is free.
        store_dir: folder of the array file.
        on_progress: called with the number of images that are done and the total.

    Returns:
        The images that can be read, uint8 `[count, image_size, image_size, 3]`, 0..255, in order;
        and, by index in `paths`, a message for each file that cannot.
    """
    shape = (len(paths), image_size, image_size, 3)
    if store == "memory" or (store == "auto" and fits_in_memory(int(np.prod(shape)))):
        return _fill(np.zeros(shape, np.uint8), paths, on_progress)
    if store_dir is None:
        raise ValueError(f"store {store!r} needs a store_dir for its array file")
    target = Path(store_dir, f"images-{_fingerprint(paths, image_size)}.npy")
    if target.exists():
        return np.load(target, mmap_mode="r"), {}
    make_folder(store_dir)
    # A folder of its own: several trainings may decode the same images at the same time.
    with tempfile.TemporaryDirectory(
        suffix=".part", dir=store_dir, ignore_cleanup_errors=True
    ) as folder:
        part = Path(folder, "images.npy")
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        # If the disk gets full, writing to a mapped file without reserved space kills the process.
        if hasattr(os, "posix_fallocate"):
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        images, failures = _fill(array, paths, on_progress)
        array.flush()
        # An incomplete array is for this run only: the next may find the files repaired.
        if failures:
            return images, failures
        os.replace(part, target)
    return np.load(target, mmap_mode="r"), {}


def _fill(
    array: np.ndarray, paths: Sequence[str], on_progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode into an array; returns its filled part, and the failures."""
    failures: dict[int, str] = {}
    filled = done = 0
    for indices, batch, failed in iterate_batches(paths, image_size=array.shape[1], batch_size=64):
        array[filled : filled + len(indices)] = batch
        filled += len(indices)
        done += len(indices) + len(failed)
        failures |= failed
        if on_progress:
            on_progress(done, len(paths))
    return array[:filled], failures


def _fingerprint(paths: Sequence[str], image_size: int) -> str:
    """Return a short name for these files in their current state, decoded to this size."""
    # The number changes with what `data.images` makes of a file.
    digest = hashlib.sha256(f"2 {image_size}".encode())
    for path in paths:
        digest.update(file_state(path))
    return digest.hexdigest()[:16]


def scale_batch(images: np.ndarray, image_size: int) -> np.ndarray:
    """Scale decoded images down to the model's input.

    Args:
        images: uint8 `[count, side_length, side_length, 3]`, 0..255.
        image_size: side length of the result, pixels, at most that of the images.

    Returns:
        uint8 `[count, image_size, image_size, 3]`; the images themselves if they have that size.
    """
    if images.shape[1] == image_size:
        return images
    scaled = tf.image.resize(images, (image_size, image_size), method="bicubic", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8).numpy()


def checksums(images: np.ndarray) -> list[int]:
    """Return the CRC-32 of each image.

    Args:
        images: uint8 `[count, side_length, side_length, 3]`.
    """
    return [zlib.crc32(np.ascontiguousarray(image)) for image in images]


def count_steps(count: int, batch_size: int) -> int:
    """Return the number of batches in an epoch of training: full ones only, at least one.

    Args:
        count: number of training images, at least 1.
        batch_size: maximum number of images in a batch.
    """
    return max(1, count // batch_size)


def even_batch_size(count: int, *, batch_size: int, devices: int) -> int:
    """Return a batch size for validation with which each device gets images of each batch.

    TensorFlow gives each device the same number of images of a batch, rounded up, and the last
    ones the remainder. On a device without images convolutions fail, and Keras needs the first
    batch to be divided evenly.

    Args:
        count: number of images.
        batch_size: batch size of training.
        devices: number of devices that share each batch.

    Returns:
        With one device `batch_size`, or `count` if that is smaller; else a multiple of `devices`
        with which the last batch reaches all of them: the largest up to `batch_size` or, if there
        is none, the smallest up to four times as large, as validation keeps nothing for gradients.

    Raises:
        DataError: there is none.
    """
    smaller = range(min(batch_size, count), devices - 1, -1)
    larger = range(batch_size + 1, min(4 * batch_size, count) + 1)
    for size in (*smaller, *larger):
        last = count % size or size
        if size % devices == 0 and (devices - 1) * -(-last // devices) < last:
            return size
    raise DataError(
        f"{count} validation images cannot be divided evenly among {devices} devices; use a larger "
        "batch size or a single device"
    )


def make_dataset(
    images: np.ndarray,
    targets: np.ndarray,
    *,
    batch_size: int,
    weights: np.ndarray | None = None,
    augmentation: Callable | None = None,
    draws: SourceDraws | None = None,
    seed: int = 0,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Make batches for `keras.Model.fit`.

    With an augmentation, the data set is for training: it never ends, each epoch of
    `count_steps(len(images), batch_size)` batches has its own order, and order and augmentation
    depend only on seed, epoch and step. Without one, it passes over the images once, in order.

    Args:
        images: uint8 `[count, side_length, side_length, 3]`, in memory or mapped from a file.
        targets: float32 `[count, classes]`, one-hot.
        batch_size: number of images in a batch.
        weights: float32 `[count]`, weight of each image in the loss; by default 1.
        augmentation: from `data.augmentation.build_augmentation`.
        draws: how often images are drawn in an epoch of training; by default each once.
        seed: seed of order and augmentation.
        first_epoch: number of epochs that are already done.

    Returns:
        Batches `(images, targets)`, or `(images, targets, weights)` with weights; the images are
        float32 (uint8 without augmentation), 0..255.
    """
    count, batch_size = len(images), min(batch_size, len(images))
    columns = (targets,) if weights is None else (targets, weights)
    columns = tuple(tf.constant(column, tf.float32) for column in columns)

    def take(indices: tf.Tensor) -> tuple:
        batch = tf.numpy_function(lambda i: images[i], [indices], tf.uint8, stateful=False)
        batch = tf.ensure_shape(batch, (None, *images.shape[1:]))
        return batch, *(tf.gather(column, indices) for column in columns)

    options = tf.data.Options()
    # The destructor of an autotuned data set waits for the next look of its tuner, which may be a
    # minute away. Each validation would pay for that.
    options.autotune.enabled = False
    # Threads of its own, since TensorFlow may run with a single one for operations.
    options.threading.private_threadpool_size = 2
    if augmentation is None:
        order = tf.data.Dataset.range(count).batch(batch_size)
        return order.map(take, num_parallel_calls=2).prefetch(2).with_options(options)

    steps = count_steps(count, batch_size)

    def shuffle(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        chosen = tf.range(count, dtype=tf.int64) if draws is None else draws.choose(epoch_seed)
        order = tf.random.experimental.stateless_shuffle(chosen, seed=epoch_seed)
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)

    def augment(step: tf.Tensor, indices: tf.Tensor) -> tuple:
        batch, *rest = take(indices)
        return augmentation(batch, seed=seed, step=step), *rest

    order = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(shuffle)
    return (
        order.enumerate(first_epoch * steps)
        .map(augment, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
        .with_options(options)
    )
