"""Balanced sources: how many images of each are drawn, and which."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from data.balance import balance_sources
from data.pipeline import make_dataset
from data.targets import class_fractions, class_weights

SOURCES = ["vienna"] * 90 + ["new york"] * 10


def choose(draws, seed: int, epoch: int) -> list[int]:
    return draws.choose(tf.constant([seed, epoch], tf.int64)).numpy().tolist()


@pytest.mark.parametrize(("balance", "counts"), [(1.0, (50, 50)), (0.5, (25, 75))])
def test_an_epoch_draws_sources_more_evenly(balance, counts):
    draws = balance_sources(SOURCES, balance)
    assert draws.names == ("new york", "vienna")
    assert draws.counts == counts
    assert draws.per_image().sum() == pytest.approx(100)
    assert draws.per_image()[0] == counts[1] / 90
    assert draws.per_image()[99] == counts[0] / 10


def test_each_image_is_drawn_once_by_default_and_from_a_single_source():
    assert balance_sources(SOURCES, 0.0) is None
    assert balance_sources(["vienna"] * 5, 1.0) is None


def test_the_number_of_draws_is_that_of_the_images():
    sources = ["a"] * 7 + ["b"] * 5 + ["c"]
    for balance in (0.1, 0.37, 0.5, 0.9, 1.0):
        assert sum(balance_sources(sources, balance).counts) == 13


def test_all_images_of_a_small_source_come_before_any_comes_again():
    draws = balance_sources(SOURCES, 1.0)
    chosen = choose(draws, 3, 0)
    small = [index for index in chosen if index >= 90]
    assert sorted(small) == sorted([*range(90, 100)] * 5)
    large = [index for index in chosen if index < 90]
    assert len(set(large)) == len(large) == 50


def test_what_is_drawn_depends_on_seed_and_epoch_alone():
    draws = balance_sources(SOURCES, 1.0)
    assert choose(draws, 3, 2) == choose(draws, 3, 2)
    assert choose(draws, 3, 2) != choose(draws, 3, 3)
    assert choose(draws, 3, 2) != choose(draws, 4, 2)
    # Over some epochs, every image of the large source is drawn.
    drawn = {index for epoch in range(20) for index in choose(draws, 3, epoch)}
    assert drawn == set(range(100))


def test_batches_follow_the_draws_and_resume_at_an_epoch():
    images = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    draws = balance_sources(SOURCES, 1.0)

    def epoch(first: int) -> list[int]:
        batches = make_dataset(
            images,
            np.eye(100, dtype=np.float32),
            batch_size=20,
            augmentation=lambda batch, seed, step: tf.cast(batch, tf.float32),
            draws=draws,
            seed=1,
            first_epoch=first,
        )
        return [int(i) for batch, _ in batches.take(5) for i in batch.numpy()[:, 0, 0, 0]]

    assert sum(index >= 90 for index in epoch(0)) == 50
    assert sorted(epoch(1)) == sorted(choose(draws, 1, 1))


def test_class_weights_count_what_is_drawn():
    labels = pd.Series(["nv"] * 90 + ["mel"] * 10)
    draws = balance_sources(SOURCES, 1.0).per_image()
    weights = class_weights(labels, "balanced", ["mel", "nv"], draws)
    assert weights == pytest.approx({"mel": 1.0, "nv": 1.0})
    assert class_fractions(labels, ["mel", "nv"], draws) == pytest.approx([0.5, 0.5])
    assert class_fractions(labels, ["mel", "nv"]) == pytest.approx([0.1, 0.9])
