"""The brush behind `data.sample`: lesions that look like their class, and photographs of them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# The share of lesions that take a part of their looks from another class: more of them make the
# data set harder to learn.
ATYPICAL_SHARE = 0.16
CONFUSED_WITH = {
    "akiec": ("bcc", "bcc", "bkl"),
    "bcc": ("akiec", "akiec", "nv"),
    "bkl": ("mel", "nv", "akiec"),
    "df": ("nv", "nv", "bcc"),
    "mel": ("nv", "bkl"),
    "nv": ("mel", "bkl", "df"),
    "vasc": ("bcc", "mel"),
}

_WIDTH, _HEIGHT = 200, 150
# A lesion is painted once, on a square tile whose half side is _REACH lesion radii.
_TILE, _REACH = 160, 1.75

# What a pigment or a structure leaves of the light that bare skin returns; RGB, 1 is bare skin.
_COLOURS = {
    "tan": (0.84, 0.72, 0.52),
    "light brown": (0.76, 0.58, 0.47),
    "brown": (0.60, 0.40, 0.31),
    "red brown": (0.66, 0.38, 0.31),
    "dark brown": (0.38, 0.24, 0.20),
    "black": (0.20, 0.16, 0.17),
    "grey brown": (0.60, 0.55, 0.47),
    "blue grey": (0.52, 0.56, 0.68),
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
    """One kind of detail: its pattern, its colours, how many, how large in lesion radii."""

    pattern: str
    colours: tuple[str, ...]
    opacity: float
    count: tuple[int, int] = (1, 2)
    radius: tuple[float, float] = (0.1, 0.2)


_STRUCTURES = {
    "network": _Structure("network", ("dark brown", "brown"), 0.65, radius=(0.12, 0.2)),
    "red network": _Structure("network", ("red", "crimson"), 0.6, radius=(0.16, 0.26)),
    "globules": _Structure("spots", ("dark brown", "brown"), 0.7, (12, 30), (0.04, 0.09)),
    "comedones": _Structure("spots", ("dark brown", "black"), 0.95, (7, 16), (0.05, 0.11)),
    "cysts": _Structure("spots", ("white", "yellow"), 0.95, (7, 18), (0.05, 0.11)),
    "ovoids": _Structure("spots", ("blue grey",), 1.0, (5, 12), (0.08, 0.2)),
    "scales": _Structure("spots", ("white", "yellow"), 0.95, (9, 24), (0.06, 0.17)),
    "lagoons": _Structure("spots", ("crimson", "purple", "red"), 0.9, (8, 20), (0.14, 0.32)),
    "fissures": _Structure("vessels", ("dark brown", "brown"), 0.7, (4, 9), (0.02, 0.04)),
    "vessels": _Structure("vessels", ("crimson", "red"), 0.95, (4, 8), (0.02, 0.04)),
    "blotches": _Structure("patches", ("black", "dark brown"), 0.9, radius=(0.25, 0.5)),
    "veil": _Structure("patches", ("blue grey",), 0.85, radius=(0.3, 0.6)),
    "regression": _Structure("patches", ("white", "pink"), 0.5, radius=(0.25, 0.5)),
    "scar": _Structure("centre", ("white", "pearl"), 1.0, radius=(0.4, 0.65)),
}


# For each class the typical traits, its pigments, and how often each structure is seen.
# size: radius in half picture heights; stretch: logarithm of length over width; bulging and
# notching: unevenness of the outline at a coarse and a fine scale; softness: width of the border
# in radii; density: amount of pigment, 1 gives the colours above; mottling: its unevenness;
# tints: number of pigments in one lesion.
_TRAITS = ("size", "stretch", "bulging", "notching", "softness", "density", "mottling", "tints")
_SPREAD = 0.2  # Deviation of each trait, as a share of its typical value.
_LOOKS = {
    "akiec": (
        (0.66, 0.20, 0.32, 0.22, 0.45, 0.80, 0.45, 2.2),
        ("red", "pink", "red brown"),
        {"red network": 0.7, "scales": 0.85, "vessels": 0.05},
    ),
    "bcc": (
        (0.58, 0.20, 0.24, 0.13, 0.35, 0.75, 0.40, 2.0),
        ("pearl", "pink", "blue grey"),
        {"ovoids": 0.75, "vessels": 0.9, "scales": 0.05},
    ),
    "bkl": (
        (0.64, 0.25, 0.16, 0.08, 0.12, 0.90, 0.30, 1.8),
        ("tan", "grey brown", "brown"),
        {"fissures": 0.35, "comedones": 0.8, "cysts": 0.85, "network": 0.05},
    ),
    "df": (
        (0.52, 0.12, 0.14, 0.06, 0.45, 0.70, 0.25, 1.6),
        ("light brown", "tan"),
        {"network": 0.35, "scar": 0.95},
    ),
    "mel": (
        (0.66, 0.30, 0.36, 0.20, 0.20, 1.15, 0.55, 3.2),
        ("dark brown", "brown", "black", "red brown", "blue grey"),
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


@dataclass(frozen=True)
class Lesion:
    """What all photographs of a lesion share.

    Attributes:
        reflectance: float32 `[side, side, 3]`, what the lesion leaves of the light that bare
            skin returns; 1 is bare skin.
        size: radius in half picture heights.
        skin: float32 `[3]`, colour of the skin around, RGB 0..1.
        redness: of the skin around; 0 is even.
    """

    reflectance: np.ndarray
    size: float
    skin: np.ndarray
    redness: float


def _make_noise(
    rng: np.random.Generator, cells: float, size: tuple[int, int] = (_TILE, _TILE)
) -> np.ndarray:
    """Make smooth noise of mean 0 and deviation 1 whose hills are a `cells`th of the width."""
    side = math.ceil(1.42 * cells) + 6
    grid = Image.fromarray(rng.standard_normal((side, side), dtype=np.float32))
    # Turned, because the eye finds the grid where it runs along the picture's sides.
    # Five pixels a hill are enough for it to be enlarged smoothly, and much faster.
    small = tuple(math.ceil(length / max(1, size[0] // (5 * cells))) for length in size)
    turned = _turn(grid, small, cells / small[0], rng.uniform(0, 2 * np.pi))
    noise = np.asarray(Image.fromarray(turned).resize(size, Image.Resampling.BICUBIC))
    return (noise - noise.mean()) / noise.std()


def _turn(
    image: Image.Image,
    size: tuple[int, int],
    scale: float,
    angle: float,
    shift: tuple[float, float] = (0, 0),
) -> np.ndarray:
    """Return a picture about whose centre, moved by `shift`, `image` is turned; 0 outside it.

    `scale` is the number of the image's pixels in one of the result's.
    """
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    x, y = size[0] / 2 + shift[0], size[1] / 2 + shift[1]
    matrix = (a, b, image.width / 2 - a * x - b * y, -b, a, image.height / 2 + b * x - a * y)
    return np.asarray(
        image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    )


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _mix_looks(rng: np.random.Generator, dx: str) -> tuple[dict[str, float], tuple, list[str]]:
    """Draw the traits, the pigments to choose from and the structures of one lesion."""
    own, other = _LOOKS[dx], _LOOKS[str(rng.choice(CONFUSED_WITH[dx]))]
    atypical = rng.random() < ATYPICAL_SHARE
    # Half of the typical values are borrowed, and either the pigments or the structures: with
    # both, nothing would be left to tell the class by.
    borrowed = atypical & (rng.random(len(_TRAITS)) < 0.5)
    means = np.where(borrowed, other[0], own[0])
    values = np.maximum(means * rng.normal(1, _SPREAD, len(means)), 0.2 * means)
    lends_pigments = rng.random() < 0.5
    pigments = (other if atypical and lends_pigments else own)[1]
    chances = (other if atypical and not lends_pigments else own)[2]
    structures = [name for name, share in chances.items() if rng.random() < share]
    return dict(zip(_TRAITS, values, strict=True)), pigments, structures


def paint_lesion(rng: np.random.Generator, dx: str) -> Lesion:
    """Paint a lesion that looks, more or less, like its class.

    Args:
        rng: source of all that is random.
        dx: one of HAM10000's classes.

    Returns:
        What all photographs of the lesion share.
    """
    traits, pigments, structures = _mix_looks(rng, dx)
    mask = _paint_outline(rng, traits)
    reflectance = _paint_pigments(rng, traits, pigments, mask)
    # Some lesions are hardly to be seen, whatever their class.
    visibility = rng.uniform(0.45, 0.65) if rng.random() < 0.08 else rng.uniform(0.8, 1.0)
    for name in structures:
        structure = _STRUCTURES[name]
        alpha = _PATTERNS[structure.pattern](rng, structure) * mask
        alpha = alpha * structure.opacity * rng.uniform(0.6, 1.0)
        colour = np.array(_COLOURS[str(rng.choice(structure.colours))])
        reflectance += alpha[..., None] * (colour - reflectance)
    reflectance = 1 + visibility * (reflectance - 1)
    fair, dark = np.array((0.94, 0.77, 0.73)), np.array((0.46, 0.31, 0.25))
    skin = fair + (dark - fair) * rng.beta(0.7, 3.0)
    return Lesion(
        np.float32(reflectance),
        min(traits["size"], 0.85),
        np.float32(skin * rng.normal(1, (0.02, 0.025, 0.05))),
        rng.gamma(1.5, 0.07),
    )


def _make_grid() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the tile's pixels, in lesion radii."""
    axis = np.linspace(-_REACH, _REACH, _TILE, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _paint_outline(rng: np.random.Generator, traits: dict[str, float]) -> np.ndarray:
    """Return how much of the lesion is in each pixel of the tile, 0..1."""
    x, y = _make_grid()
    half = math.exp(min(traits["stretch"], 0.7) / 2)
    distance = np.hypot(x / half, y * half)
    uneven = traits["bulging"] * _make_noise(rng, 5) + 0.6 * traits["notching"] * (
        _make_noise(rng, 13) + 0.5 * _make_noise(rng, 30)
    )
    # Nothing may reach the tile's edge, where it would be cut off straight.
    edge = np.clip((_REACH - 0.05 - np.hypot(x, y)) / 0.3, 0, 1)
    return _sigmoid((1 - distance - uneven * np.sqrt(distance)) * 4 / traits["softness"]) * edge


def _paint_pigments(
    rng: np.random.Generator, traits: dict[str, float], pigments: tuple, mask: np.ndarray
) -> np.ndarray:
    """Return the tile with its pigments only: several colours, each prevailing somewhere."""
    count = int(np.clip(round(traits["tints"]), 1, len(pigments)))
    names = rng.choice(pigments, count, replace=False)
    hills = [1.6 * _make_noise(rng, 4) + 0.6 * _make_noise(rng, 16) for _ in names]
    weights = np.exp(1.5 * np.stack(hills))
    weights /= weights.sum(axis=0)
    absorbance = -np.log([_COLOURS[str(name)] for name in names])
    blend = np.einsum("nyx,nc->yxc", weights, absorbance)
    grain = 0.7 * _make_noise(rng, 7) + 0.5 * _make_noise(rng, 22) + 0.3 * _make_noise(rng, 60)
    density = traits["density"] * mask * np.clip(1 + traits["mottling"] * grain, 0.15, 2)
    return np.exp(-density[..., None] * blend)


def _draw_spots(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage of roundish spots all over the lesion, 0..1."""
    image = Image.new("L", (_TILE, _TILE))
    draw = ImageDraw.Draw(image)
    unit = _TILE / 2 / _REACH
    turns = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    spread = rng.uniform(0.6, 0.95)
    for _ in range(rng.integers(*structure.count)):
        away, angle = spread * math.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        radius = rng.uniform(*structure.radius) * (
            1 + 0.3 * np.sin(turns + rng.uniform(0, 6)) * np.sin(2 * turns + rng.uniform(0, 6))
        )
        x = _TILE / 2 + unit * (away * math.cos(angle) + radius * np.cos(turns))
        y = _TILE / 2 + unit * (away * math.sin(angle) + radius * np.sin(turns))
        draw.polygon([*zip(x, y, strict=True)], fill=int(rng.integers(140, 256)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1.3)), np.float32) / 255


def _draw_network(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage of a net around the tops of three crossed, bent waves, 0..1."""
    x, y = _make_grid()
    wave = 2 * np.pi / rng.uniform(*structure.radius)
    x, y = x + 0.07 * _make_noise(rng, 9), y + 0.07 * _make_noise(rng, 9)
    turn = rng.uniform(0, np.pi)
    angles = turn + np.arange(3) * 2 * np.pi / 3
    tops = sum(np.cos(wave * (x * np.cos(a) + y * np.sin(a))) for a in angles)
    return np.clip(0.5 - 0.6 * tops, 0, 1) * np.clip(0.7 + 0.4 * _make_noise(rng, 6), 0, 1)


def _draw_vessels(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage of winding lines that branch and thin out, 0..1."""
    image = Image.new("L", (2 * _TILE, 2 * _TILE))
    draw = ImageDraw.Draw(image)
    unit = _TILE / _REACH
    tips = [
        (rng.uniform(-0.8, 0.8, 2), rng.uniform(0, 2 * np.pi), rng.uniform(*structure.radius))
        for _ in range(rng.integers(*structure.count))
    ]
    while tips:
        place, heading, radius = tips.pop()
        for _ in range(rng.integers(5, 14)):
            heading += rng.normal(0, 0.4)
            onward = place + 0.09 * np.array((math.cos(heading), math.sin(heading)))
            line = [tuple(_TILE + unit * place), tuple(_TILE + unit * onward)]
            draw.line(line, fill=230, width=max(1, round(2 * radius * unit)))
            place = onward
            if rng.random() < 0.2 and radius > 0.01:
                tips.append((place, heading + rng.choice((-0.8, 0.8)), 0.65 * radius))
    return np.asarray(image.reduce(2), np.float32) / 255


def _draw_patches(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage of blurred areas, each where smooth noise is high, 0..1."""
    share = rng.uniform(*structure.radius)
    noise = 0.9 * _make_noise(rng, 4.5) + 0.4 * _make_noise(rng, 18)
    return _sigmoid((noise - np.quantile(noise, 1 - share)) * 5)


def _draw_centre(rng: np.random.Generator, structure: _Structure) -> np.ndarray:
    """Return the coverage of one patch in the middle that fades outwards, 0..1."""
    x, y = _make_grid()
    distance = np.hypot(x - rng.normal(0, 0.08), y - rng.normal(0, 0.08))
    radius = rng.uniform(*structure.radius)
    return _sigmoid((radius - distance - 0.1 * _make_noise(rng, 9)) * 9)


_PATTERNS = {
    "spots": _draw_spots,
    "network": _draw_network,
    "vessels": _draw_vessels,
    "patches": _draw_patches,
    "centre": _draw_centre,
}


def photograph(rng: np.random.Generator, lesion: Lesion) -> Image.Image:
    """Take one picture of a lesion: its position, the light and all that is in the way.

    Args:
        rng: source of all that is random in this picture.
        lesion: from `paint_lesion`.

    Returns:
        An RGB picture, 200 x 150.
    """
    size = (_WIDTH, _HEIGHT)
    picture = _paint_skin(rng, lesion) * _place(rng, lesion)
    if rng.random() < 0.55:
        tone = np.float32((0.16, 0.11, 0.09)) + rng.beta(1, 3) * np.float32((0.4, 0.3, 0.2))
        cover = _draw_hairs(rng) * rng.uniform(0.5, 0.9)
        picture += cover[..., None] * (tone - picture)
    if rng.random() < 0.15:
        picture += _draw_ruler(rng)[..., None] * (0.12 - picture)
    light = rng.normal(1.02, 0.06) * (1 + rng.uniform(0.02, 0.08) * _make_noise(rng, 1.5, size))
    cast = np.float32(np.exp(rng.normal(0, (0.03, 0.03, 0.05))))
    picture *= _make_vignette(rng)[..., None] * light[..., None] * cast
    picture += rng.uniform(0.004, 0.014) * rng.standard_normal(picture.shape, np.float32)
    image = Image.fromarray((255 * np.clip(picture, 0, 1)).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))


def _paint_skin(rng: np.random.Generator, lesion: Lesion) -> np.ndarray:
    """Return bare skin, float [_HEIGHT, _WIDTH, 3], RGB about 0..1."""
    size = (_WIDTH, _HEIGHT)
    relief = sum(
        strength * _make_noise(rng, cells, size)
        for strength, cells in ((0.012, 12), (0.014, 35), (0.018, 80))
    )
    flush = np.clip(0.5 + 0.6 * _make_noise(rng, 5, size) + 0.6 * _make_noise(rng, 18, size), 0, 3)
    redness = -lesion.redness * np.log(np.float32((0.95, 0.78, 0.80)))
    return lesion.skin * (1 + relief[..., None]) * np.exp(-flush[..., None] * redness)


def _place(rng: np.random.Generator, lesion: Lesion) -> np.ndarray:
    """Return the lesion's reflectance turned, scaled and moved into the picture."""
    radius = lesion.size * _HEIGHT / 2 * rng.uniform(0.85, 1.2)
    scale, angle = _TILE / 2 / _REACH / radius, rng.uniform(0, 2 * np.pi)
    shift = tuple(rng.normal(0, 0.05 * _HEIGHT, 2))
    # What lies outside the tile becomes 0, so bare skin has to be 0 meanwhile.
    planes = np.ascontiguousarray((lesion.reflectance - 1).transpose(2, 0, 1))
    size = (_WIDTH, _HEIGHT)
    turned = [_turn(Image.fromarray(plane), size, scale, angle, shift) for plane in planes]
    return 1 + np.stack(turned, axis=-1)


def _draw_hairs(rng: np.random.Generator) -> np.ndarray:
    """Return the coverage of curved strokes that mostly run one way, float [_HEIGHT, _WIDTH]."""
    image = Image.new("L", (2 * _WIDTH, 2 * _HEIGHT))
    draw = ImageDraw.Draw(image)
    along = rng.uniform(0, np.pi)
    t = np.linspace(-1, 1, 20)[:, None]
    for _ in range(min(30, 1 + int(rng.exponential(7)))):
        angle = along + rng.normal(0, 0.5)
        direction = np.array((math.cos(angle), math.sin(angle)))
        bend = direction[::-1] * (-1, 1) * rng.normal(0, 25)
        middle = rng.uniform((0, 0), image.size)
        points = middle + t * direction * rng.uniform(30, 170) + t**2 * bend
        draw.line([*map(tuple, points)], fill=230, width=int(rng.integers(1, 4)))
    return np.asarray(image.reduce(2), np.float32) / 255


def _draw_ruler(rng: np.random.Generator) -> np.ndarray:
    """Return the coverage of dark ticks across a corner, float [_HEIGHT, _WIDTH]."""
    image = Image.new("L", (2 * _WIDTH, 2 * _HEIGHT))
    draw = ImageDraw.Draw(image)
    angle, step = rng.uniform(0.4, 1.1), rng.uniform(14, 24)
    along, across = (math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))
    for tick in range(-12, 24):
        x = 2 * _WIDTH * 0.08 + tick * step * along[0]
        y = 2 * _HEIGHT * 0.25 + tick * step * along[1]
        length = 14 if tick % 5 else 22
        end = (x - length * across[0], y - length * across[1])
        draw.line([(x, y), end], fill=210, width=3)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.ROTATE_180)
    return np.asarray(image.reduce(2), np.float32) / 255


def _make_vignette(rng: np.random.Generator) -> np.ndarray:
    """Return what the round front of the instrument lets through, float [_HEIGHT, _WIDTH]."""
    x = np.arange(_WIDTH)[None, :] - _WIDTH / 2 - rng.normal(0, 4)
    y = np.arange(_HEIGHT)[:, None] - _HEIGHT / 2 - rng.normal(0, 4)
    distance = np.hypot(x, y) / _HEIGHT
    dim = 1 - rng.uniform(0, 0.35) * np.clip(distance, 0, 1) ** 2
    if rng.random() < 0.3:
        dim *= _sigmoid((rng.uniform(0.66, 0.8) - distance) * rng.uniform(25, 90))
    return np.float32(dim)
