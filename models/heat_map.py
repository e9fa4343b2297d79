"""Drawing a heat map of `models.grad_cam` over its image."""

import numpy as np


def overlay(image: np.ndarray, heat: np.ndarray, *, opacity: float = 0.5) -> np.ndarray:
    """Blend a heat map over its image, more opaque where the heat is higher.

    Args:
        image: uint8 `[height, width, 3]`.
        heat: float `[height, width]` in 0..1.
        opacity: where the heat is 1, in [0, 1].

    Returns:
        uint8 `[height, width, 3]`.
    """
    # Most predictions have no heat map and should not wait for this import.
    from matplotlib import colormaps

    # Perceptually uniform, and not the colors of skin.
    colors = colormaps["viridis"](heat)[..., :3] * 255
    alpha = (opacity * heat)[..., None]
    return np.round(image * (1 - alpha) + colors * alpha).astype(np.uint8)
