import numpy as np

from data.lesions import generate_lesion
from data.painting import make_noise, render_image


def test_images_of_a_lesion_differ_but_repeat_with_the_seed():
    lesion = generate_lesion(np.random.default_rng(0), "mel")
    first, again, other = (render_image(np.random.default_rng(seed), lesion) for seed in (1, 1, 2))
    assert (first.mode, first.size) == ("RGB", (200, 150))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_noise_is_standardized_and_has_the_size_asked_for():
    noise = make_noise(np.random.default_rng(0), 5, (40, 30))
    assert noise.shape == (30, 40)
    assert abs(noise.mean()) < 1e-4
    assert abs(noise.std() - 1) < 1e-4
