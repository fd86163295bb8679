"""How a choice changes a layer."""

from .blocks import ElasticBottleneck, ElasticMBConv, ElasticResidual
from .functional import shrink_kernel, slice_conv
from .importance import sort_bottleneck, sort_mbconv, sort_outputs, sort_residual, sorted_order
from .initialise import initialise_he_fout
from .layers import ElasticConv2d, ElasticDepthwiseConv2d, ElasticLinear, ElasticSqueezeExcite
from .norm import ElasticBatchNorm2d, calibrate

__all__ = [
    "ElasticBatchNorm2d",
    "ElasticBottleneck",
    "ElasticConv2d",
    "ElasticDepthwiseConv2d",
    "ElasticLinear",
    "ElasticMBConv",
    "ElasticResidual",
    "ElasticSqueezeExcite",
    "calibrate",
    "initialise_he_fout",
    "shrink_kernel",
    "slice_conv",
    "sort_bottleneck",
    "sort_mbconv",
    "sort_outputs",
    "sort_residual",
    "sorted_order",
]
