"""The visible field of a dermatoscope: a round or rectangular window in a dark border.

The border depends on the camera, and a model reacts to it. Others cut it off, too, for example
Gessert et al., *Skin Lesion Classification Using Ensembles of Multi-Resolution EfficientNets with
Meta Data* (2019), arXiv:1910.03910. Here an image is cropped only if an ellipse, or straight lines,
fit the edge of its border; everything else stays whole.
"""

import numpy as np
from PIL import Image

# The copy on which the border is sought, whatever the size of the image. Lengths below are in
# units of the short side of the image, levels in units of the level of skin.
_GRID = 96
_CENTERS = (np.arange(_GRID) + 0.5) / _GRID
# Where a corner of the central square is tested, as deep in it as the smallest border that counts,
# and the brightest level there that may be border.
_INSET = 0.045
_DARK = 90
_DARKEST_SKIN = 60
# A pixel above this level is visible. The fitted edge is moved inwards by half a pixel of the copy.
_VISIBLE = 0.4
_MARGIN = 0.5 / _GRID
# How far points may lie from the fitted edge, and how many of them have to lie so near.
_TOLERANCE = 0.02
_FIT = 0.85
_FIT_STRAIGHT = 0.9
# Mean distance of the points from a circle below which no other ellipse is tried.
_PERFECT = 0.005
# Skin is at least this much brighter just inside of the edge than outside: more than in a vignette.
_STEP = 0.5
# How much farther out than the edge a corner of the central square has to lie until the square is
# moved, and until it is moved all the way. Less is usual in HAM10000, where hundreds of images have
# four small dark corners.
_DEEP_CORNER = (1.13, 1.18)
_WIDE_BAR, _WIDEST_BAR = 0.05, 0.3
# If the lesion seems to reach beyond the square inside the ellipse, the square grows up to this.
_GROWTH = 1.2
# The part of what the larger square adds that has to be darker than skin for all of the growth.
_LESION = 0.3


def find_visible_square(
    image: Image.Image, size: tuple[float, float] | None = None
) -> tuple[float, float, float] | None:
    """Find the square inside the visible field of an image with a dark border.

    A round field (an ellipse if the image was stretched) gives the largest square inside it, or one
    that is up to 1.2 times as large if there is something darker than skin beside that: it may be
    the lesion. A rectangular one gives its central square. The result hardly depends on the size of
    the image.

    Args:
        image: RGB, upright.
        size: its width and height, if the last column or row is only partly covered, as in a JPEG
            that was scaled by its decoder.

    Returns:
        Left, top and side length in pixels; None if the central square of the image should be used:
        there is no such border, it hardly reaches into that square, or it is not clear.
    """
    if not _has_dark_corners(image):
        return None
    size = np.array(size or image.size)
    copy = image.resize((_GRID, _GRID), Image.Resampling.BOX, box=(0, 0, *size))
    colors = np.asarray(copy).astype(np.float32)
    levels = colors.max(axis=2)
    middle = slice(_GRID // 4, 3 * _GRID // 4)
    skin = np.percentile(levels[middle, middle], 75)
    if skin < _DARKEST_SKIN:
        return None
    levels /= skin
    lines = np.stack([levels, levels[:, ::-1], levels.T, levels.T[:, ::-1]])
    short = size.min()
    size = size / short
    edges = _find_edges(lines)
    square = _square_in_rectangle(lines, edges, size)
    if square is None:
        square = _square_in_ellipse(levels, colors[..., 2], edges, size)
    return None if square is None else tuple(float(short * value) for value in square)


def _has_dark_corners(image: Image.Image) -> bool:
    """Tell whether two corners of the central square are dark: without them, it has no border.

    A visible field is convex, so that it holds all of the square if it holds the corners. This test
    takes microseconds, the others a thousand times as long.
    """
    width, height = image.size
    side_length = min(width, height)
    left, top = (width - side_length) // 2, (height - side_length) // 2
    first = round(_INSET * side_length)
    last = side_length - 1 - first
    dark = 0
    for x, y in ((first, first), (last, first), (first, last), (last, last)):
        dark += max(image.getpixel((left + x, top + y))) < _DARK
    return dark >= 2


def _find_edges(lines: np.ndarray) -> np.ndarray:
    """Find where each row and column becomes visible, from all four sides.

    Args:
        lines: float32 `[4, _GRID, _GRID]`, levels in the direction from the left, right, top and
            bottom.

    Returns:
        float `[4, _GRID]`: the distance from that side in 0..1 for each row or column, 0 if it is
        visible from its first pixel on, NaN if it is nowhere visible.
    """
    visible = lines > _VISIBLE
    index = visible.argmax(axis=2)
    inside = np.take_along_axis(lines, index[..., None], 2)[..., 0]
    outside = np.take_along_axis(lines, np.maximum(index - 1, 0)[..., None], 2)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):  # of lines that have no edge
        edges = (index - 0.5 + (_VISIBLE - outside) / (inside - outside)) / _GRID
    edges[index == 0] = 0
    edges[inside <= _VISIBLE] = np.nan
    return edges


def _square_in_rectangle(
    lines: np.ndarray, edges: np.ndarray, size: np.ndarray
) -> tuple[float, float, float] | None:
    """Return left, top and side length of the central square between straight dark bars."""
    bars = []
    for side in range(4):
        bar = _measure_bar(lines[side], edges[side], _TOLERANCE / size[side // 2])
        if bar is None:
            return None
        bars.append((bar + _MARGIN) * size[side // 2] if bar else 0.0)
    left, right, top, bottom = bars
    width, height = size[0] - left - right, size[1] - top - bottom
    side_length = min(width, height)
    # How far the central square of the image reaches into the bars.
    x, y = (size - 1) / 2
    if max(left - x, right - x, top - y, bottom - y) < _WIDE_BAR:
        return None
    return left + (width - side_length) / 2, top + (height - side_length) / 2, side_length


def _measure_bar(lines: np.ndarray, edges: np.ndarray, tolerance: float) -> float | None:
    """Measure a straight dark bar along one side.

    Args:
        lines: float32 `[_GRID, _GRID]`, levels in the direction from this side.
        edges: float `[_GRID]`, where each line becomes visible, in 0..1.
        tolerance: how far an edge may be away from the edge of the bar, in 0..1.

    Returns:
        The width of the bar in 0..1, 0 without a bar; None if what is dark there is no bar.
    """
    # Lines that are dark as a whole belong to the bars of other sides.
    crossing = np.isfinite(edges)
    if not crossing.any():
        return None
    if 2 * np.count_nonzero(edges > 0) <= np.count_nonzero(crossing):
        return 0.0
    bar = float(np.median(edges[crossing]))
    is_straight = np.mean(np.abs(edges[crossing] - bar) <= tolerance) >= _FIT_STRAIGHT
    edge = round(bar * _GRID)
    if not is_straight or bar > _WIDEST_BAR or edge == 0:
        return None
    if np.mean(lines[crossing, : max(1, edge - 1)] < _VISIBLE) < 0.98:
        return None
    profile = lines[crossing].mean(axis=0)
    border, inside = np.median(profile[: max(1, edge - 1)]), np.median(profile[edge + 1 : edge + 4])
    if inside - border < _STEP:
        return None
    # A pixel across the edge is as dark as the part of it that is border.
    darkness = np.clip((inside - profile[: edge + 2]) / (inside - border), 0, 1)
    return float(darkness.sum()) / _GRID


def _square_in_ellipse(
    levels: np.ndarray, blue: np.ndarray, edges: np.ndarray, size: np.ndarray
) -> tuple[float, float, float] | None:
    """Return left, top and side length of a square inside the ellipse that fits the edges."""
    left, right, top, bottom = np.where(edges > 0, edges, np.nan)
    x = np.concatenate([left, 1 - right, _CENTERS, _CENTERS]) * size[0]
    y = np.concatenate([_CENTERS, _CENTERS, top, 1 - bottom]) * size[1]
    found = np.isfinite(x) & np.isfinite(y)
    ellipse = _fit_ellipse(x[found], y[found])
    if ellipse is None or not _is_field(ellipse, size):
        return None
    grid_x, grid_y = np.meshgrid(_CENTERS * size[0], _CENTERS * size[1])
    distance = _distance(ellipse, grid_x, grid_y)
    outside, near = distance > 0.03, (distance > 0.03) & (distance < 0.08)
    rim = (distance < -0.04) & (distance > -0.09)
    if not near.any() or not rim.any() or np.mean(levels[outside] < _VISIBLE) < 0.95:
        return None
    if np.median(levels[rim]) - np.median(levels[near]) < _STEP:
        return None
    center, radii = ellipse[:2], ellipse[2:] - _MARGIN
    side_length = _largest_square(center, radii, size)
    grown = min(1.0, _GROWTH * side_length)
    added = _is_inside(grid_x, grid_y, _place(center, grown, size)) & (distance < -0.08)
    added &= ~_is_inside(grid_x, grid_y, _place(center, side_length, size))
    reach = _reach_of_lesion(blue[distance < -0.04], blue[added])
    side_length += (grown - side_length) * reach
    # No jump between the two squares: an image is decoded at several sizes, and rounding differs.
    depth = np.interp(_corner_depth(ellipse, size), _DEEP_CORNER, (0, 1))
    central = ((size[0] - 1) / 2, (size[1] - 1) / 2, 1.0)
    visible = _place(center, side_length, size)
    return tuple(a + depth * (b - a) for a, b in zip(central, visible, strict=True))


def _reach_of_lesion(field: np.ndarray, added: np.ndarray) -> float:
    """Estimate from 0 to 1 how much of a lesion lies in a part of the field.

    Lesions differ most from skin in blue. There is no hard threshold, so that noise has no effect
    on the size of the square.

    Args:
        field: float32 `[pixels]`, blue in the visible field.
        added: float32 `[pixels]`, blue in that part of it.
    """
    if not len(added):
        return 0.0
    skin = max(1.0, float(np.percentile(field, 90)))
    darkness = np.clip((0.85 - added / skin) / 0.2, 0, 1)
    return min(1.0, float(darkness.mean()) / _LESION)


def _place(center: np.ndarray, side_length: float, size: np.ndarray) -> tuple[float, float, float]:
    """Return left, top and side length of the square inside the image nearest to a center."""
    left, top = np.clip(center, side_length / 2, size - side_length / 2) - side_length / 2
    return left, top, side_length


def _is_inside(x: np.ndarray, y: np.ndarray, square: tuple[float, float, float]) -> np.ndarray:
    left, top, side_length = square
    return (x > left) & (x < left + side_length) & (y > top) & (y < top + side_length)


def _is_field(ellipse: np.ndarray, size: np.ndarray) -> bool:
    """Tell whether an ellipse can be a visible field that the central square reaches out of."""
    center, radii = ellipse[:2], ellipse[2:]
    if radii.min() < 0.3 or radii.max() > 1.1 or radii.max() > 1.55 * radii.min():
        return False
    return np.abs(center - size / 2).max() <= 0.3 and _corner_depth(ellipse, size) > _DEEP_CORNER[0]


def _corner_depth(ellipse: np.ndarray, size: np.ndarray) -> float:
    """Return how far the farthest corner of the central square is out; 1 is on the ellipse."""
    return float(np.hypot(*((np.abs(ellipse[:2] - size / 2) + 0.5) / ellipse[2:])))


def _fit_ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Fit an upright ellipse to points, of which some may be wrong.

    Args:
        x: float `[points]`.
        y: float `[points]`.

    Returns:
        Center x and y, horizontal and vertical radius; None if the points are on no ellipse. It is
        a circle unless another ellipse fits much better.
    """
    best, best_error = None, np.inf
    for is_circle in (True, False):
        ellipse, kept = None, np.ones(len(x), bool)
        for _ in range(6):
            ellipse = _solve(x[kept], y[kept], is_circle=is_circle) if kept.sum() >= 24 else None
            if ellipse is None:
                break
            errors = np.abs(_distance(ellipse, x, y))
            last, kept = kept, errors <= max(_TOLERANCE, 2 * np.median(errors))
            if (kept == last).all():
                break
        if ellipse is None or np.mean(errors <= _TOLERANCE) < _FIT:
            continue
        error = np.minimum(errors, 3 * _TOLERANCE).mean()
        if error < 0.7 * best_error:
            best, best_error = ellipse, error
        if best_error < _PERFECT:
            break
    return best


def _solve(x: np.ndarray, y: np.ndarray, *, is_circle: bool) -> np.ndarray | None:
    """Solve x^2 + a y^2 + b x + c y + d = 0 by least squares; a = 1 for a circle."""
    columns = [x, y, np.ones_like(x)]
    matrix = np.stack(columns if is_circle else [*columns, y**2], axis=1)
    target = -(x**2) - y**2 if is_circle else -(x**2)
    # The normal equations take a fraction of the time of `lstsq`.
    try:
        b, c, d, *a = np.linalg.solve(matrix.T @ matrix, matrix.T @ target)
    except np.linalg.LinAlgError:  # all points on a line
        return None
    a = a[0] if a else 1.0
    if not a > 0:
        return None
    center_x, center_y = -b / 2, -c / (2 * a)
    square = center_x**2 + a * center_y**2 - d
    if not square > 0:
        return None
    return np.array([center_x, center_y, np.sqrt(square), np.sqrt(square / a)])


def _distance(ellipse: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance of points from an ellipse along its radii, negative inside it."""
    x, y = x - ellipse[0], y - ellipse[1]
    relative = np.maximum(np.hypot(x / ellipse[2], y / ellipse[3]), 1e-6)
    return np.hypot(x, y) * (1 - 1 / relative)


def _largest_square(center: np.ndarray, radii: np.ndarray, size: np.ndarray) -> float:
    """Return the side length of the largest square inside both an ellipse and the image.

    Of all squares of one size inside the image, the nearest to the center of the ellipse reaches
    least beyond it.
    """
    low, high = 0.0, 1.0
    for _ in range(20):
        side_length = (low + high) / 2
        corner = np.abs(np.array(_place(center, side_length, size)[:2]) + side_length / 2 - center)
        if np.hypot(*((corner + side_length / 2) / radii)) <= 1:
            low = side_length
        else:
            high = side_length
    return low
