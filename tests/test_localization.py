import numpy as np
import pytest

from metrics.localization import compare_with_masks, pointing_game


def test_figures_of_a_hand_made_case():
    masks = np.zeros((3, 2, 4), bool)
    masks[0, :, :2] = True  # half of the area
    masks[1, 0, 0] = True  # an eighth
    heat = np.zeros((3, 2, 4))
    heat[0, 0, 0], heat[0, 1, 3] = 3, 1
    heat[1, 1, 1] = 1
    figures = pointing_game(compare_with_masks(heat, masks))
    assert (figures["images"], figures["without_lesion"]) == (2, 1)
    assert figures["hit_share"] == 0.5
    assert figures["energy_share"] == pytest.approx((0.75 + 0) / 2)
    assert figures["chance"] == pytest.approx((4 / 8 + 1 / 8) / 2)


def test_an_even_map_does_as_well_as_chance():
    masks = np.random.default_rng(0).random((20, 8, 8)) < 0.3
    figures = pointing_game(compare_with_masks(np.ones((20, 8, 8)), masks))
    assert figures["energy_share"] == pytest.approx(figures["chance"])


def test_a_map_of_zeros_misses():
    figures = pointing_game(compare_with_masks(np.zeros((1, 2, 2)), np.ones((1, 2, 2), bool)))
    assert (figures["hit_share"], figures["energy_share"], figures["chance"]) == (0.0, 0.0, 1.0)


def test_without_any_lesion_there_is_no_figure():
    figures = pointing_game(compare_with_masks(np.ones((2, 2, 2)), np.zeros((2, 2, 2), bool)))
    assert figures["hit_share"] is None
    assert figures["without_lesion"] == 2
