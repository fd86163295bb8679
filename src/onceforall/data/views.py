"""Views of an image: what a network is shown beside what the test transform shows, each a vote of its own.

A view is made where the image is cut out of the photo, so that it costs what any other image costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import ConfigError
from .images import EncodedImages, ImageSet

PLAIN = "plain"


@dataclass(frozen=True)
class View:
    """How an image is shown: `zoomed`, the middle four fifths of both sides; `mirrored`, left and right exchanged."""

    zoomed: bool = False
    mirrored: bool = False

    def cut_from(self, images: ImageSet) -> ImageSet:
        """The set whose test transform shows as much as the view. Raises ConfigError for small images in memory."""
        if not self.zoomed:
            return images
        if not isinstance(images, EncodedImages):
            raise ConfigError("zoomed views are cut out of photos; these images are kept in memory at one size")
        return images.zoomed()

    def turned(self, images_NCHW: Tensor) -> Tensor:
        """Images of that set as the view shows them."""
        return images_NCHW.flip(-1) if self.mirrored else images_NCHW


VIEWS: Mapping[str, View] = {
    PLAIN: View(),
    "mirrored": View(mirrored=True),
    "zoomed": View(zoomed=True),
    "zoomed-mirrored": View(zoomed=True, mirrored=True),
}
