"""Batch norm over a prefix of channels, and its calibration for one network."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that normalises the first `x.shape[1]` channels with the first entries of its statistics.

    All widths share one set of running statistics, a mixture that fits none of them: calibrate a sub-network
    before its accuracy is measured (Once-for-All, section 3; Yu & Huang 2019).
    """

    def forward(self, input: Tensor) -> Tensor:
        channels = input.shape[1]
        if channels == self.num_features:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return F.batch_norm(
            input,
            self.running_mean[:channels],
            self.running_var[:channels],
            self.weight[:channels],
            self.bias[:channels],
            self.training,
            0.1 if self.momentum is None else self.momentum,
            self.eps,
        )


class _Recorder:
    """Averages the statistics of the batches one layer saw, weighted by the number of images."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        if layer.running_mean is None or layer.running_var is None:
            raise ValueError("calibrate needs batch norm layers with running statistics")
        self.layer = layer
        self.before = layer.running_mean.clone(), layer.running_var.clone()
        self.mean, self.var = torch.zeros_like(layer.running_mean), torch.zeros_like(layer.running_var)
        self.images = 0
        # A momentum of 1 makes the layer itself write the statistics of the batch it normalises with.
        self.momentum, layer.momentum = layer.momentum, 1.0
        self.tracked = None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone()
        self.hook = layer.register_forward_hook(self.observe)

    def observe(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        n = inputs[0].shape[0]
        count = inputs[0].numel() // inputs[0].shape[1]
        biased = (count - 1) / count  # torch keeps the unbiased variance but normalises with the biased one
        self.images += n
        weight = n / self.images
        self.mean += (self.layer.running_mean - self.mean) * weight  # type: ignore[operator]
        self.var += (self.layer.running_var * biased - self.var) * weight  # type: ignore[operator]

    def finish(self, keep: bool) -> None:
        """Leave the layer with the averages, or as it was before: also where no batch reached it."""
        self.hook.remove()
        self.layer.momentum = self.momentum
        if self.tracked is not None:
            self.layer.num_batches_tracked.copy_(self.tracked)  # type: ignore[union-attr]
        mean, var = (self.mean, self.var) if keep and self.images else self.before
        self.layer.running_mean.copy_(mean)  # type: ignore[union-attr]
        self.layer.running_var.copy_(var)  # type: ignore[union-attr]


@torch.no_grad()
def calibrate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Re-estimate the batch-norm statistics of one network from images without labels.

    Every layer normalises with the statistics of the current batch and keeps the average, weighted by batch size, of
    the batches' means and biased variances (the cumulative rule of Once-for-All; no momentum). Layers that the
    forward pass never reaches keep theirs. The module is left in eval mode.

    Args:
        module: a plain module, for example from `Supernet.extract`.
        batches: image tensors (N, C, H, W), normalised as in training; 2,000 images in all are a good number.

    Raises:
        DataError: `batches` is empty.
    """
    module.eval()
    recorders = []
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
            recorders.append(_Recorder(layer))
    seen, whole = False, False
    try:
        for images_NCHW in batches:
            module(images_NCHW)
            seen = True
        whole = True
    finally:
        for recorder in recorders:
            recorder.finish(keep=whole)
        module.eval()
    if not seen:
        raise DataError("calibration needs at least one batch of images")
