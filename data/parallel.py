"""Applying a function to many items in threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

# Pillow and NumPy release the interpreter lock while they compute.
WORKERS = max(2, os.cpu_count() or 2)


def in_parallel(
    function: Callable,
    items: Sequence,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator:
    """Apply a function to items in threads.

    Args:
        function: of an item.
        items: the items.
        on_progress: called with the number of items that are done and the total.

    Yields:
        The results, in order.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        for done, result in enumerate(pool.map(function, items), start=1):
            if on_progress:
                on_progress(done, len(items))
            yield result
