"""What of an image a network is shown: every view is a vote of its own, and costs what the image as it is costs."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

PLAIN = "plain"
_MARGIN = 0.1  # of the side that a zoomed view leaves out at every border


def _plain(images_NCHW: Tensor) -> Tensor:
    return images_NCHW


def _mirrored(images_NCHW: Tensor) -> Tensor:
    return images_NCHW.flip(-1)


def _zoomed(images_NCHW: Tensor) -> Tensor:
    """The middle four fifths of both sides, enlarged to the size of the image."""
    height, width = images_NCHW.shape[-2:]
    top, left = round(_MARGIN * height), round(_MARGIN * width)
    middle = images_NCHW[..., top : height - top, left : width - left]
    return F.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


def _zoomed_mirrored(images_NCHW: Tensor) -> Tensor:
    return _zoomed(_mirrored(images_NCHW))


VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    PLAIN: _plain,
    "mirrored": _mirrored,
    "zoomed": _zoomed,
    "zoomed-mirrored": _zoomed_mirrored,
}
"""By name: images (N, channels, height, width) to what is shown, of the same shape."""


class Viewed(nn.Module):
    """A network that is shown one view of its images."""

    def __init__(self, network: nn.Module, view: str) -> None:
        super().__init__()
        self.network, self.view = network, view

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self.network(VIEWS[self.view](images_NCHW))
