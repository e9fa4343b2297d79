import numpy as np
import pytest

from data.ham10000 import CLASS_NAMES
from data.lesions import generate_lesion
from data.painting import TILE_SIZE


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_lesions_of_each_class_repeat_with_the_seed_and_end_inside_their_tile(class_name):
    first, again, other = (
        generate_lesion(np.random.default_rng(seed), class_name) for seed in (1, 1, 2)
    )
    assert first.reflectance.shape == (TILE_SIZE, TILE_SIZE, 3)
    assert (first.reflectance == again.reflectance).all()
    assert (first.radius, first.redness) == (again.radius, again.redness)
    assert (first.reflectance != other.reflectance).any()
    # Bare skin all around, so that no straight edge is visible.
    for edge in (first.reflectance[0], first.reflectance[-1], first.reflectance[:, 0]):
        assert np.allclose(edge, 1, atol=1e-3)
