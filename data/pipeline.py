"""From image files to batches: decode once, keep, shuffle, augment, prefetch."""

import contextlib
import hashlib
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from data import DataError
from data.images import check_image, load_image
from data.memory import fits_in_memory

# Pillow releases the interpreter lock while it decodes and scales.
_WORKERS = max(2, os.cpu_count() or 2)


def iterate_batches(
    paths: Sequence[str], *, image_size: int, batch_size: int
) -> Iterator[tuple[list[int], np.ndarray, dict[int, str]]]:
    """Decode images in order, a few batches ahead of their use, in constant memory.

    Args:
        paths: image files.
        image_size: side of the decoded pictures, pixels.
        batch_size: images in a batch, at most.

    Yields:
        Places in `paths` of the images in this batch; the images, uint8
        `[len(places), image_size, image_size, 3]`; and a message for each place whose file
        could not be read. A batch may be empty when none of its files could.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        waiting: deque[tuple[int, Future]] = deque()
        submitted = 0
        for start in range(0, len(paths), batch_size):
            stop = min(start + batch_size, len(paths))
            while submitted < min(stop + 2 * batch_size, len(paths)):
                task = pool.submit(load_image, paths[submitted], image_size)
                waiting.append((submitted, task))
                submitted += 1
            images, places, failures = [], [], {}
            for _ in range(start, stop):
                place, task = waiting.popleft()
                try:
                    images.append(task.result())
                    places.append(place)
                except DataError as error:
                    failures[place] = str(error)
            shape = (len(images), image_size, image_size, 3)
            yield places, np.stack(images) if images else np.zeros(shape, np.uint8), failures


def check_images(paths: Sequence[str]) -> dict[int, str]:
    """Read the headers of image files, a small part of the time that decoding takes.

    Args:
        paths: image files.

    Returns:
        A message for each place in `paths` whose file is no image that can be used.
    """

    def check(path: str) -> str:
        try:
            check_image(path)
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(_WORKERS) as pool:
        messages = pool.map(check, paths)
        return {place: message for place, message in enumerate(messages) if message}


def decode_images(
    paths: Sequence[str],
    *,
    image_size: int,
    store: str = "memory",
    store_dir: str | os.PathLike | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode all images once, into memory or into an array file.

    The array file is written beside its final name and renamed when it is complete, so that a
    stopped run leaves nothing that a later one could trip over; a later run with the same files
    and size uses it again.

    Args:
        paths: image files.
        image_size: side of the decoded pictures, pixels.
        store: `memory`, `file`, or `auto`: memory when the pictures take at most half of what is
            free.
        store_dir: folder of the array file.
        on_progress: called with the number of images done and of all.

    Returns:
        The pictures that could be read, uint8 `[count, image_size, image_size, 3]`, 0..255, in
        order; and a message for each place in `paths` whose file could not.
    """
    shape = (len(paths), image_size, image_size, 3)
    if store == "memory" or (store == "auto" and fits_in_memory(int(np.prod(shape)))):
        return _fill(np.zeros(shape, np.uint8), paths, on_progress)
    if store_dir is None:
        raise ValueError(f"store {store!r} needs a store_dir for its array file")
    target = Path(store_dir, f"images-{_fingerprint(paths, image_size)}.npy")
    if target.exists():
        return np.load(target, mmap_mode="r"), {}
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        # Without its place on the disk, writing to a mapped file kills the process when it is full.
        if hasattr(os, "posix_fallocate"):
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        images, failures = _fill(array, paths, on_progress)
        array.flush()
        # With pictures left out it serves this run only: the files may be mended by the next.
        if failures:
            return images, failures
        os.replace(part, target)
        return np.load(target, mmap_mode="r"), {}
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def scale_batch(images: np.ndarray, image_size: int) -> np.ndarray:
    """Scale decoded pictures down to the model's input.

    Args:
        images: uint8 `[count, side, side, 3]`, 0..255.
        image_size: side of the result, pixels, at most that of the images.

    Returns:
        uint8 `[count, image_size, image_size, 3]`; the images themselves where they have the size.
    """
    if images.shape[1] == image_size:
        return images
    scaled = tf.image.resize(images, (image_size, image_size), method="bicubic", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8).numpy()


def checksums(images: np.ndarray) -> list[int]:
    """Return a number for each picture that another content would change.

    Args:
        images: uint8 `[count, side, side, 3]`.
    """
    return [zlib.crc32(np.ascontiguousarray(image)) for image in images]


def _fill(
    array: np.ndarray, paths: Sequence[str], on_progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode into an array; returns its filled part, and the failures."""
    failures: dict[int, str] = {}
    filled = done = 0
    for places, batch, failed in iterate_batches(paths, image_size=array.shape[1], batch_size=64):
        array[filled : filled + len(places)] = batch
        filled += len(places)
        done += len(places) + len(failed)
        failures |= failed
        if on_progress:
            on_progress(done, len(paths))
    return array[:filled], failures


def _fingerprint(paths: Sequence[str], image_size: int) -> str:
    """Return a short name for these files as they are now, decoded to this size."""
    digest = hashlib.sha256(str(image_size).encode())
    for path in paths:
        try:
            state = os.stat(path)
            digest.update(os.fsencode(path))
            digest.update(f"\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        except OSError:
            digest.update(os.fsencode(path) + b"\0missing\0")
    return digest.hexdigest()[:16]


def count_steps(count: int, batch_size: int) -> int:
    """Return the batches in an epoch of training: full ones only, at least one.

    Args:
        count: training images, at least 1.
        batch_size: images in a batch, at most.
    """
    return max(1, count // batch_size)


def even_batch_size(count: int, *, batch_size: int, devices: int) -> int:
    """Return a batch size for validation by which no batch leaves a device without images.

    TensorFlow gives each device as many images of a batch as would fit evenly, rounded up, and the
    last ones what is left. On a device that gets none, convolutions fail; and Keras wants even
    shares of the first batch.

    Args:
        count: images in the data set.
        batch_size: that of training.
        devices: among which each batch is divided.

    Returns:
        With one device `batch_size`, or `count` where that is less; else a multiple of the devices
        by which the last batch, too, serves all of them: the largest up to `batch_size`, or, where
        there is none, the smallest up to four times as much, since nothing is kept for gradients.

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
        f"{count} validation images cannot be shared evenly by {devices} devices; give a larger "
        "--batch_size, or leave out --strategy mirrored"
    )


def make_dataset(
    images: np.ndarray,
    targets: np.ndarray,
    *,
    batch_size: int,
    weights: np.ndarray | None = None,
    augmentation: Callable | None = None,
    seed: int = 0,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Make batches for `keras.Model.fit`.

    With an augmentation the data set is for training: it never ends, every epoch of
    `count_steps(len(images), batch_size)` batches has its own order, and order and
    augmentation depend on seed, epoch and step alone. Without one, the data set passes once over
    the images in order.

    Args:
        images: uint8 `[count, side, side, 3]`, in memory or mapped from a file.
        targets: float32 `[count, classes]`, one-hot.
        batch_size: images in a batch.
        weights: float32 `[count]`, weight of each image in the loss; 1 without it.
        augmentation: from `data.augmentation.build_augmentation`.
        seed: of order and augmentation.
        first_epoch: epochs that were already trained.

    Returns:
        Batches `(images, targets)`, or `(images, targets, weights)` with weights;
        the images float32 (uint8 without augmentation), 0..255.
    """
    count, batch_size = len(images), min(batch_size, len(images))
    columns = (targets,) if weights is None else (targets, weights)
    columns = tuple(tf.constant(column, tf.float32) for column in columns)

    def gather(places: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(lambda chosen: images[chosen], [places], tf.uint8, stateful=False)
        return tf.ensure_shape(batch, (None, *images.shape[1:]))

    def take(places: tf.Tensor) -> tuple:
        return gather(places), *(tf.gather(column, places) for column in columns)

    options = tf.data.Options()
    # A data set that tunes itself holds up everything when it is let go: its destructor waits for
    # the tuner's next look, which may be a minute away. Each validation would pay for that.
    options.autotune.enabled = False
    # Threads of its own, since TensorFlow may have one for operations (`models.backend`).
    options.threading.private_threadpool_size = 2
    if augmentation is None:
        order = tf.data.Dataset.range(count).batch(batch_size)
        return order.map(take, num_parallel_calls=2).prefetch(2).with_options(options)

    steps = count_steps(count, batch_size)

    def order_of(epoch: tf.Tensor) -> tf.data.Dataset:
        start = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int64), seed=start
        )
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)

    def change(step: tf.Tensor, places: tf.Tensor) -> tuple:
        batch, *rest = take(places)
        return augmentation(batch, seed=seed, step=step), *rest

    order = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(order_of)
    return (
        order.enumerate(first_epoch * steps)
        .map(change, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
        .with_options(options)
    )
