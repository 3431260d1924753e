"""What the light, the lens and the camera do to an image, as a few numbers that are quick to take at decoding."""

import numpy as np

STATISTICS = ("brightness", "contrast", "sharpness", "noise", "red", "blue", "size")
MOST_ROWS = 32  # of the image that are looked at, at equal distances
MOST_COLUMNS = 256  # neighbouring ones, in the middle of a row


def image_statistics(pixels: np.ndarray) -> tuple[float, ...]:
    """STATISTICS of an image (h, w, 3) uint8 RGB, from some of its rows, so that a large one takes no longer.

    - brightness and contrast: mean and standard deviation of the grey values, 0 to 255;
    - sharpness: mean square of the second differences along the rows, which the edges make;
    - noise: standard deviation of the noise, by the median of their sizes, which edges hardly change;
    - red, blue: mean of red and of blue, less that of green;
    - size: number of pixels.

    Source: the median of absolute deviations, scaled by 1.4826, as Donoho and Johnstone 1994 take the noise from it; a
    second difference of independent noise has the variance 6.
    """
    height, width = pixels.shape[:2]
    step, left = -(-height // MOST_ROWS), max(0, (width - MOST_COLUMNS) // 2)
    rows = pixels[step // 2 :: step, left : left + MOST_COLUMNS]
    # One channel after the other: a sum over both axes of all of them at once takes ten times as long.
    red, green, blue = (int(rows[..., channel].sum()) / rows[..., channel].size for channel in range(3))
    grey = rows.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # (rows, columns)
    bends = np.diff(grey, n=2, axis=1) if grey.shape[1] > 2 else np.zeros((1, 1), dtype=np.float32)
    sharpness = float(np.square(bends).mean(dtype=np.float64))
    noise = 1.4826 * float(np.median(np.abs(bends))) / 6**0.5
    brightness, contrast = float(grey.mean(dtype=np.float64)), float(grey.std(dtype=np.float64))
    return brightness, contrast, sharpness, noise, red - green, blue - green, float(height * width)
