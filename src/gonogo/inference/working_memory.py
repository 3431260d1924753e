"""How much memory one image takes from its file to its regions, known from its size."""

from gonogo.images.limits import decoding_bytes

# For each pixel of the image. The graph holds the pixels as bytes, as floats and, with a ROI, as masked floats, and the
# map; the regions of a map whose every pixel is marked hold some ten columns of numbers.
GRAPH_BYTES, REGIONS_BYTES = 40, 80
FLOAT = 4
# For each pixel of the graph's input: the activations of a backbone and the distances to a memory bank.
NETWORK_BYTES = 2_000


def working_bytes(height: int, width: int, *, input_size: tuple[int, int]) -> int:
    """Upper estimate, in bytes, of the most memory that one image needs at a time.

    The graph resizes along the width first, so that it holds three rows of floats as wide as its input for each row of
    the image; and its map along the width first, too.

    Args:
        height, width: of the image.
        input_size: height and width that the graph resizes an image to.
    """
    pixels, (input_height, input_width) = height * width, input_size
    resized = FLOAT * (3 * height * input_width + input_height * width)
    graph = GRAPH_BYTES * pixels + resized + NETWORK_BYTES * input_height * input_width
    return max(decoding_bytes(height, width), graph, REGIONS_BYTES * pixels)
