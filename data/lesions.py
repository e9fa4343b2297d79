"""Synthetic lesions that look, more or less, like their class."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.painting import REACH, TILE_SIZE, Lesion, make_noise, sigmoid

# The fraction of lesions that borrow part of their looks from another class; a higher one makes the
# data set harder.
_ATYPICAL_FRACTION = 0.16
_CONFUSED_WITH = {
    "akiec": ("bcc", "bcc", "bkl"),
    "bcc": ("akiec", "akiec", "nv"),
    "bkl": ("mel", "nv", "akiec"),
    "df": ("nv", "nv", "bcc"),
    "mel": ("nv", "bkl"),
    "nv": ("mel", "bkl", "df"),
    "vasc": ("bcc", "mel"),
}

# The fraction of the light reflected by bare skin that a pigment or structure reflects, RGB.
_COLORS = {
    "tan": (0.84, 0.72, 0.52),
    "light brown": (0.76, 0.58, 0.47),
    "brown": (0.60, 0.40, 0.31),
    "red brown": (0.66, 0.38, 0.31),
    "dark brown": (0.38, 0.24, 0.20),
    "black": (0.20, 0.16, 0.17),
    "gray brown": (0.60, 0.55, 0.47),
    "blue gray": (0.52, 0.56, 0.68),
    "pink": (0.93, 0.68, 0.70),
    "pearl": (1.02, 0.86, 0.87),
    "red": (0.83, 0.40, 0.43),
    "crimson": (0.72, 0.22, 0.36),
    "purple": (0.46, 0.26, 0.42),
    "white": (1.16, 1.28, 1.30),
    "yellow": (1.14, 1.16, 1.00),
}


@dataclass(frozen=True)
class _Structure:
    """A dermatoscopic structure: pattern, colors, opacity, how many, how large in lesion radii."""

    pattern: str
    colors: tuple[str, ...]
    opacity: float
    count: tuple[int, int] = (1, 2)
    radius: tuple[float, float] = (0.1, 0.2)


_STRUCTURES = {
    "network": _Structure("network", ("dark brown", "brown"), 0.65, radius=(0.12, 0.2)),
    "red network": _Structure("network", ("red", "crimson"), 0.6, radius=(0.16, 0.26)),
    "globules": _Structure("spots", ("dark brown", "brown"), 0.7, (12, 30), (0.04, 0.09)),
    "comedones": _Structure("spots", ("dark brown", "black"), 0.95, (7, 16), (0.05, 0.11)),
    "cysts": _Structure("spots", ("white", "yellow"), 0.95, (7, 18), (0.05, 0.11)),
    "ovoids": _Structure("spots", ("blue gray",), 1.0, (5, 12), (0.08, 0.2)),
    "scales": _Structure("spots", ("white", "yellow"), 0.95, (9, 24), (0.06, 0.17)),
    "lagoons": _Structure("spots", ("crimson", "purple", "red"), 0.9, (8, 20), (0.14, 0.32)),
    "fissures": _Structure("vessels", ("dark brown", "brown"), 0.7, (4, 9), (0.02, 0.04)),
    "vessels": _Structure("vessels", ("crimson", "red"), 0.95, (4, 8), (0.02, 0.04)),
    "blotches": _Structure("patches", ("black", "dark brown"), 0.9, radius=(0.25, 0.5)),
    "veil": _Structure("patches", ("blue gray",), 0.85, radius=(0.3, 0.6)),
    "regression": _Structure("patches", ("white", "pink"), 0.5, radius=(0.25, 0.5)),
    "scar": _Structure("center", ("white", "pearl"), 1.0, radius=(0.4, 0.65)),
}

# For each class: its typical traits, its pigments, and the probability of each structure.
# size: radius in half image heights; stretch: logarithm of length over width; bulging and notching:
# irregularity of the outline at a coarse and a fine scale; softness: width of the border in radii;
# density: amount of pigment, where 1 gives the colors above; mottling: its unevenness; tints:
# number of pigments in one lesion.
_TRAITS = ("size", "stretch", "bulging", "notching", "softness", "density", "mottling", "tints")
_SPREAD = 0.2  # Standard deviation of each trait, as a fraction of its typical value.
_LOOKS = {
    "akiec": (
        (0.66, 0.20, 0.32, 0.22, 0.45, 0.80, 0.45, 2.2),
        ("red", "pink", "red brown"),
        {"red network": 0.7, "scales": 0.85, "vessels": 0.05},
    ),
    "bcc": (
        (0.58, 0.20, 0.24, 0.13, 0.35, 0.75, 0.40, 2.0),
        ("pearl", "pink", "blue gray"),
        {"ovoids": 0.75, "vessels": 0.9, "scales": 0.05},
    ),
    "bkl": (
        (0.64, 0.25, 0.16, 0.08, 0.12, 0.90, 0.30, 1.8),
        ("tan", "gray brown", "brown"),
        {"fissures": 0.35, "comedones": 0.8, "cysts": 0.85, "network": 0.05},
    ),
    "df": (
        (0.52, 0.12, 0.14, 0.06, 0.45, 0.70, 0.25, 1.6),
        ("light brown", "tan"),
        {"network": 0.35, "scar": 0.95},
    ),
    "mel": (
        (0.66, 0.30, 0.36, 0.20, 0.20, 1.15, 0.55, 3.2),
        ("dark brown", "brown", "black", "red brown", "blue gray"),
        {"blotches": 0.75, "veil": 0.55, "network": 0.4, "regression": 0.3, "globules": 0.3},
    ),
    "nv": (
        (0.50, 0.20, 0.13, 0.06, 0.22, 0.95, 0.22, 1.4),
        ("brown", "red brown", "dark brown"),
        {"network": 0.6, "globules": 0.4, "blotches": 0.05},
    ),
    "vasc": (
        (0.48, 0.18, 0.13, 0.05, 0.13, 0.95, 0.30, 1.6),
        ("red", "crimson", "purple"),
        {"lagoons": 0.85, "vessels": 0.1, "veil": 0.1},
    ),
}


def generate_lesion(rng: np.random.Generator, class_name: str) -> Lesion:
    """Generate a lesion that looks, more or less, like its class.

    Args:
        rng: source of all randomness.
        class_name: a class of HAM10000.

    Returns:
        What all images of the lesion have in common.
    """
    traits, pigments, structures = _mix_looks(rng, class_name)
    mask = _make_outline(rng, traits)
    reflectance = _mix_pigments(rng, traits, pigments, mask)
    # A few lesions of any class are hardly visible.
    visibility = rng.uniform(0.45, 0.65) if rng.random() < 0.08 else rng.uniform(0.8, 1.0)
    for name in structures:
        structure = _STRUCTURES[name]
        alpha = _PATTERNS[structure.pattern](rng, structure) * mask
        alpha = alpha * structure.opacity * rng.uniform(0.6, 1.0)
        color = np.array(_COLORS[str(rng.choice(structure.colors))])
        reflectance += alpha[..., None] * (color - reflectance)
    reflectance = 1 + visibility * (reflectance - 1)
    fair, dark = np.array((0.94, 0.77, 0.73)), np.array((0.46, 0.31, 0.25))
    skin = fair + (dark - fair) * rng.beta(0.7, 3.0)
    return Lesion(
        np.float32(reflectance),
        min(traits["size"], 0.85),
        np.float32(skin * rng.normal(1, (0.02, 0.025, 0.05))),
        rng.gamma(1.5, 0.07),
    )


def _mix_looks(
    rng: np.random.Generator, class_name: str
) -> tuple[dict[str, float], tuple[str, ...], list[str]]:
    """Draw the traits, the pigments to choose from and the structures of a lesion."""
    own, other = _LOOKS[class_name], _LOOKS[str(rng.choice(_CONFUSED_WITH[class_name]))]
    atypical = rng.random() < _ATYPICAL_FRACTION
    # An atypical lesion borrows half of the traits, and either the pigments or the structures:
    # with both, nothing would be left that identifies the class.
    borrowed = atypical & (rng.random(len(_TRAITS)) < 0.5)
    means = np.where(borrowed, other[0], own[0])
    values = np.maximum(means * rng.normal(1, _SPREAD, len(means)), 0.2 * means)
    borrows_pigments = rng.random() < 0.5
    pigments = (other if atypical and borrows_pigments else own)[1]
    chances = (other if atypical and not borrows_pigments else own)[2]
    structures = [name for name, chance in chances.items() if rng.random() < chance]
    return dict(zip(_TRAITS, values, strict=True)), pigments, structures


def _make_grid() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the tile's pixels, in lesion radii."""
    axis = np.linspace(-REACH, REACH, TILE_SIZE, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _make_outline(rng: np.random.Generator, traits: dict[str, float]) -> np.ndarray:
    """Return the fraction of each pixel of the tile that the lesion covers, 0..1."""
    x, y = _make_grid()
    half = math.exp(min(traits["stretch"], 0.7) / 2)
    distance = np.hypot(x / half, y * half)
    uneven = traits["bulging"] * make_noise(rng, 5) + 0.6 * traits["notching"] * (
        make_noise(rng, 13) + 0.5 * make_noise(rng, 30)
    )
    # Nothing may reach the edge of the tile, where it would be cut off straight.
    edge = np.clip((REACH - 0.05 - np.hypot(x, y)) / 0.3, 0, 1)
    return sigmoid((1 - distance - uneven * np.sqrt(distance)) * 4 / traits["softness"]) * edge


def _mix_pigments(
    rng: np.random.Generator,
    traits: dict[str, float],
    pigments: tuple[str, ...],
    mask: np.ndarray,
) -> np.ndarray:
    """Return the reflectance without structures: several pigments, each dominant somewhere."""
    count = int(np.clip(round(traits["tints"]), 1, len(pigments)))
    names = rng.choice(pigments, count, replace=False)
    peaks = [1.6 * make_noise(rng, 4) + 0.6 * make_noise(rng, 16) for _ in names]
    weights = np.exp(1.5 * np.stack(peaks))
    weights /= weights.sum(axis=0)
    absorbance = -np.log([_COLORS[str(name)] for name in names])
    blend = np.einsum("nyx,nc->yxc", weights, absorbance)
    grain = 0.7 * make_noise(rng, 7) + 0.5 * make_noise(rng, 22) + 0.3 * make_noise(rng, 60)
    density = traits["density"] * mask * np.clip(1 + traits["mottling"] * grain, 0.15, 2)
    return np.exp(-density[..., None] * blend)


def _draw_spots(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage by roundish spots all over the lesion, 0..1."""
    image = Image.new("L", (TILE_SIZE, TILE_SIZE))
    draw = ImageDraw.Draw(image)
    unit = TILE_SIZE / 2 / REACH
    turns = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    spread = rng.uniform(0.6, 0.95)
    for _ in range(rng.integers(*structure.count)):
        distance, angle = spread * math.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        radius = rng.uniform(*structure.radius) * (
            1 + 0.3 * np.sin(turns + rng.uniform(0, 6)) * np.sin(2 * turns + rng.uniform(0, 6))
        )
        x = TILE_SIZE / 2 + unit * (distance * math.cos(angle) + radius * np.cos(turns))
        y = TILE_SIZE / 2 + unit * (distance * math.sin(angle) + radius * np.sin(turns))
        draw.polygon([*zip(x, y, strict=True)], fill=int(rng.integers(140, 256)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1.3)), np.float32) / 255


def _draw_network(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage by a net around the crests of three crossed, bent waves, 0..1."""
    x, y = _make_grid()
    wave = 2 * np.pi / rng.uniform(*structure.radius)
    x, y = x + 0.07 * make_noise(rng, 9), y + 0.07 * make_noise(rng, 9)
    turn = rng.uniform(0, np.pi)
    angles = turn + np.arange(3) * 2 * np.pi / 3
    crests = sum(np.cos(wave * (x * np.cos(a) + y * np.sin(a))) for a in angles)
    return np.clip(0.5 - 0.6 * crests, 0, 1) * np.clip(0.7 + 0.4 * make_noise(rng, 6), 0, 1)


def _draw_vessels(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage by winding lines that branch and taper, 0..1."""
    image = Image.new("L", (2 * TILE_SIZE, 2 * TILE_SIZE))
    draw = ImageDraw.Draw(image)
    unit = TILE_SIZE / REACH
    tips = [
        (rng.uniform(-0.8, 0.8, 2), rng.uniform(0, 2 * np.pi), rng.uniform(*structure.radius))
        for _ in range(rng.integers(*structure.count))
    ]
    while tips:
        point, heading, radius = tips.pop()
        for _ in range(rng.integers(5, 14)):
            heading += rng.normal(0, 0.4)
            following = point + 0.09 * np.array((math.cos(heading), math.sin(heading)))
            line = [tuple(TILE_SIZE + unit * point), tuple(TILE_SIZE + unit * following)]
            draw.line(line, fill=230, width=max(1, round(2 * radius * unit)))
            point = following
            if rng.random() < 0.2 and radius > 0.01:
                tips.append((point, heading + rng.choice((-0.8, 0.8)), 0.65 * radius))
    return np.asarray(image.reduce(2), np.float32) / 255


def _draw_patches(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage by blurred areas, where smooth noise is high, 0..1."""
    fraction = rng.uniform(*structure.radius)
    noise = 0.9 * make_noise(rng, 4.5) + 0.4 * make_noise(rng, 18)
    return sigmoid((noise - np.quantile(noise, 1 - fraction)) * 5)


def _draw_center(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage by one patch in the center that fades outwards, 0..1."""
    x, y = _make_grid()
    distance = np.hypot(x - rng.normal(0, 0.08), y - rng.normal(0, 0.08))
    radius = rng.uniform(*structure.radius)
    return sigmoid((radius - distance - 0.1 * make_noise(rng, 9)) * 9)


_PATTERNS = {
    "spots": _draw_spots,
    "network": _draw_network,
    "vessels": _draw_vessels,
    "patches": _draw_patches,
    "center": _draw_center,
}
