"""The colors of the classes."""

from functools import lru_cache

import cv2
import numpy as np

# Okabe and Ito's colors (jfly.uni-koeln.de/color), which color-blind people can distinguish, too.
# The strong ones come first; light gray replaces black, which is the background's.
_FIRST_COLORS = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
    (225, 225, 225),
)
# Linear RGB as seen with normal vision, with protanopia and with deuteranopia (Machado et al. 2009,
# table 1, transposed).
_COLOR_VISIONS = np.array(
    [
        [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
        [(0.1523, 0.1145, -0.0039), (1.0526, 0.7863, -0.0481), (-0.2049, 0.0992, 1.0520)],
        [(0.3673, 0.2801, -0.0118), (0.8606, 0.6725, 0.0429), (-0.2280, 0.0474, 0.9689)],
    ]
)


@lru_cache(maxsize=1)
def palette() -> np.ndarray:
    """Returns the color of each class id, uint8 RGB [256, 3]; the same in every run.

    Id 0, the background, is black. After the fixed first colors, each next one has the greatest
    distance from all before it. The distance of two colors is the least that normal, red-blind
    and green-blind people see.
    """
    levels = np.linspace(0, 255, 8).round()
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    # Dark colors would not be visible on dark scenes.
    grid = grid[grid @ (0.2126, 0.7152, 0.0722) > 90]
    colors = np.concatenate([[(0, 0, 0)], _FIRST_COLORS, grid]).astype(np.uint8)
    seen = np.clip((colors / 255.0) ** 2.2 @ _COLOR_VISIONS, 0, 1) ** (1 / 2.2)
    lab = cv2.cvtColor(seen.astype(np.float32), cv2.COLOR_RGB2Lab)  # [vision, color, 3]
    chosen = list(range(1 + len(_FIRST_COLORS)))
    distance = np.full(len(colors), np.inf)
    for place in range(255):
        to_latest = np.linalg.norm(lab - lab[:, chosen[place], None], axis=-1).min(0)
        distance = np.minimum(distance, to_latest)
        if place + 1 == len(chosen):
            # Rounded, so that the choice does not depend on a platform's last bits.
            chosen.append(int(distance.round(2).argmax()))
    return colors[chosen]


def colorize(class_map: np.ndarray) -> np.ndarray:
    """Converts class ids, uint8 [H, W], to the palette's colors, uint8 RGB [H, W, 3]."""
    return cv2.applyColorMap(np.ascontiguousarray(class_map), palette()[:, None])
