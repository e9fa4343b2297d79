"""How often the images of each source are drawn, so that no source drowns another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from support.files import list_names


@dataclass(frozen=True)
class SourceDraws:
    """The number of images that an epoch draws from each source.

    Attributes:
        names: of the sources.
        members: by source, the indices of its images, int64 `[images]`.
        counts: by source, how many images are drawn. Below the number of its images, these are
            some of them, others in each epoch; above it, all images come again and again.
    """

    names: tuple[str, ...]
    members: tuple[np.ndarray, ...]
    counts: tuple[int, ...]

    def per_image(self) -> np.ndarray:
        """Return how often each image is drawn on average, float64 `[images]`."""
        draws = np.zeros(sum(map(len, self.members)))
        for members, count in zip(self.members, self.counts, strict=True):
            draws[members] = count / len(members)
        return draws

    def describe(self) -> str:
        """Return the number of images of each source, and how many of them an epoch draws."""
        parts = zip(self.names, self.members, self.counts, strict=True)
        return list_names(f"{name} {len(members):,} ({count:,})" for name, members, count in parts)

    def choose(self, epoch_seed: tf.Tensor) -> tf.Tensor:
        """Choose the images of an epoch.

        Args:
            epoch_seed: int64 `[2]`, seed of the training and index of the epoch.

        Returns:
            int64 `[sum(counts)]`, indices of images, source by source.
        """
        parts = []
        for source, (members, count) in enumerate(zip(self.members, self.counts, strict=True)):
            for repeat in range(-(-count // len(members))):
                # Far from the seeds of any other epoch, source and repeat.
                offset = tf.constant([(source + 1) << 32, (repeat + 1) << 32], tf.int64)
                order = tf.random.experimental.stateless_shuffle(
                    tf.constant(members, tf.int64), seed=epoch_seed + offset
                )
                parts.append(order[: count - repeat * len(members)])
        return tf.concat(parts, axis=0)


def balance_sources(sources: Sequence[str], balance: float) -> SourceDraws | None:
    """Plan how often the images of each source are drawn in an epoch of as many images.

    Args:
        sources: the source of each image.
        balance: 0 draws each image once, 1 the same number from each source; in between, a source
            of n images counts as n ** (1 - balance) images.

    Returns:
        The plan; None with a single source, or if each image is drawn once.
    """
    names, index = np.unique(np.asarray(sources, str), return_inverse=True)
    sizes = np.bincount(index)
    if len(names) < 2 or balance == 0:
        return None
    weights = sizes ** (1.0 - balance)
    exact = weights / weights.sum() * len(index)
    # Rounded so that the sum stays: the largest remainders are rounded up.
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: len(index) - counts.sum()]] += 1
    members = tuple(np.flatnonzero(index == source) for source in range(len(names)))
    return SourceDraws(tuple(names.tolist()), members, tuple(counts.tolist()))
