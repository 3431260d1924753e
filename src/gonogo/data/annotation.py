"""What the label file of one image says, whichever tool wrote it."""

from dataclasses import dataclass

from gonogo.data.regions import Region


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The objects of one image.

    Attributes:
        regions: objects with an area, in pixels of the upright image.
        without_area: labels of objects of which nobody knows the pixels: points and lines.
        flags: labels that the image has as a whole.
        size: (width, height) of the image that was annotated, where the file says it.
        image_name: of the image's file, where the label file says it.
    """

    regions: tuple[Region, ...] = ()
    without_area: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    image_name: str | None = None

    @property
    def labels(self) -> list[str]:
        """Of all objects, and of the image."""
        return [*(region.label for region in self.regions), *self.without_area, *self.flags]
