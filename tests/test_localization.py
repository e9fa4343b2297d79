import numpy as np
import pytest

from metrics.localization import compare_with_masks, pointing_game


def test_metrics_of_a_hand_made_case():
    masks = np.zeros((3, 2, 4), bool)
    masks[0, :, :2] = True  # half of the area
    masks[1, 0, 0] = True  # an eighth
    heat_maps = np.zeros((3, 2, 4))
    heat_maps[0, 0, 0], heat_maps[0, 1, 3] = 3, 1
    heat_maps[1, 1, 1] = 1
    metrics = pointing_game(compare_with_masks(heat_maps, masks))
    assert (metrics["images"], metrics["without_lesion"]) == (2, 1)
    assert metrics["hit_fraction"] == 0.5
    assert metrics["energy_fraction"] == pytest.approx((0.75 + 0) / 2)
    assert metrics["chance"] == pytest.approx((4 / 8 + 1 / 8) / 2)


def test_a_constant_map_is_at_chance_level():
    masks = np.random.default_rng(0).random((20, 8, 8)) < 0.3
    metrics = pointing_game(compare_with_masks(np.ones((20, 8, 8)), masks))
    assert metrics["energy_fraction"] == pytest.approx(metrics["chance"])


def test_a_map_of_zeros_is_a_miss():
    metrics = pointing_game(compare_with_masks(np.zeros((1, 2, 2)), np.ones((1, 2, 2), bool)))
    assert [metrics[key] for key in ("hit_fraction", "energy_fraction", "chance")] == [0, 0, 1]


def test_without_any_lesion_the_metrics_are_undefined():
    metrics = pointing_game(compare_with_masks(np.ones((2, 2, 2)), np.zeros((2, 2, 2), bool)))
    assert metrics["hit_fraction"] is None
    assert metrics["without_lesion"] == 2
