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
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # a cumulative average, as in torch
                momentum = 1 / float(self.num_batches_tracked)
        return F.batch_norm(
            input,
            self.running_mean[:channels],
            self.running_var[:channels],
            self.weight[:channels],
            self.bias[:channels],
            self.training,
            0.0 if momentum is None else momentum,
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
        self.images = self.channels = 0
        # A momentum of 1 makes the layer itself write the statistics of the batch it normalises with.
        self.momentum, layer.momentum = layer.momentum, 1.0
        self.tracked = None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone()
        self.hooks = [layer.register_forward_pre_hook(self.prepare), layer.register_forward_hook(self.observe)]

    def prepare(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Write the statistics of a single value per channel, which torch refuses to take: itself, and variance 0."""
        channels = inputs[0].shape[1]
        layer.train(inputs[0].numel() != channels)
        if not layer.training:
            self.layer.running_mean[:channels] = inputs[0].reshape(channels)  # type: ignore[index]
            self.layer.running_var[:channels] = 0  # type: ignore[index]

    def observe(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        n, self.channels = inputs[0].shape[:2]
        count = inputs[0].numel() // self.channels
        biased = (count - 1) / count  # torch keeps the unbiased variance but normalises with the biased one
        self.images += n
        weight = n / self.images
        self.mean += (self.layer.running_mean - self.mean) * weight  # type: ignore[operator]
        self.var += (self.layer.running_var * biased - self.var) * weight  # type: ignore[operator]

    def finish(self, keep: bool) -> None:
        """Leave the layer with the averages, or as it was before: also the channels that no batch reached."""
        for hook in self.hooks:
            hook.remove()
        self.layer.momentum = self.momentum
        if self.tracked is not None:
            self.layer.num_batches_tracked.copy_(self.tracked)  # type: ignore[union-attr]
        reached = slice(self.channels if keep else 0)
        statistics = (self.layer.running_mean, self.layer.running_var)
        for tensor, before, average in zip(statistics, self.before, (self.mean, self.var), strict=True):
            tensor.copy_(before)  # type: ignore[union-attr]
            tensor[reached] = average[reached]  # type: ignore[index]


@torch.no_grad()
def calibrate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Re-estimate the batch-norm statistics of one network from images without labels.

    Every layer normalises with the statistics of the current batch and keeps the average, weighted by batch size, of
    the batches' means and biased variances (the cumulative rule of Once-for-All; no momentum). Layers and channels
    that the forward pass never reaches keep theirs. The module is left in eval mode.

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
