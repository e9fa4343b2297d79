"""Reading many image files at once, for predictions and for `data.pipeline`."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from data import DataError
from data.images import check_image, load_image
from data.parallel import WORKERS, in_parallel


def iterate_batches(
    paths: Sequence[str], *, image_size: int, batch_size: int
) -> Iterator[tuple[list[int], np.ndarray, dict[int, str]]]:
    """Decode images in order, a few batches ahead of their use, in constant memory.

    Args:
        paths: image files.
        image_size: side length of the decoded images, pixels.
        batch_size: maximum number of images in a batch.

    Yields:
        Indices in `paths` of the images in this batch; the images, uint8
        `[len(indices), image_size, image_size, 3]`; and, by index, a message for each file that
        cannot be read. A batch is empty if none of its files can be read.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[tuple[int, Future]] = deque()
        submitted = 0
        for start in range(0, len(paths), batch_size):
            stop = min(start + batch_size, len(paths))
            while submitted < min(stop + 2 * batch_size, len(paths)):
                task = pool.submit(load_image, paths[submitted], image_size)
                waiting.append((submitted, task))
                submitted += 1
            images, indices, failures = [], [], {}
            for _ in range(start, stop):
                index, task = waiting.popleft()
                try:
                    images.append(task.result())
                    indices.append(index)
                except DataError as error:
                    failures[index] = str(error)
            shape = (len(images), image_size, image_size, 3)
            yield indices, np.stack(images) if images else np.zeros(shape, np.uint8), failures


def check_images(paths: Sequence[str]) -> dict[int, str]:
    """Check the headers of image files, in a small part of the time that decoding takes.

    Args:
        paths: image files.

    Returns:
        By index in `paths`, a message for each file that cannot be used.
    """

    def check(path: str) -> str:
        try:
            check_image(path)
        except DataError as error:
            return str(error)
        return ""

    messages = in_parallel(check, paths)
    return {index: message for index, message in enumerate(messages) if message}
