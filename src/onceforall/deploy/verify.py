"""Whether an exported file computes what its network computes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .backends import OnnxNetwork

BATCH = 64


@dataclass(frozen=True)
class Agreement:
    """Exported file against eager network on the same images.

    Attributes:
        max_abs_difference: largest difference of any logit (of an ensemble: of any probability).
        max_abs_logit: largest logit of the eager network (probability of the ensemble), for scale.
        top1_agreement: share of images with the same best class.
        images_compared: how many images.
    """

    max_abs_difference: float
    max_abs_logit: float
    top1_agreement: float
    images_compared: int

    @classmethod
    def between(cls, found_NC: np.ndarray, expected_NC: np.ndarray) -> "Agreement":
        """Outputs of the file against outputs of the eager network on the same images."""
        return cls(
            max_abs_difference=float(np.abs(found_NC - expected_NC).max()),
            max_abs_logit=float(np.abs(expected_NC).max()),
            top1_agreement=float((found_NC.argmax(1) == expected_NC.argmax(1)).mean()),
            images_compared=len(found_NC),
        )

    @property
    def relative_difference(self) -> float:
        """Largest difference over the largest logit (at least 1); NaN when either side is not finite."""
        return self.max_abs_difference / max(1.0, self.max_abs_logit)


def compare(path: str | Path, module: nn.Module, images_NCHW: Tensor) -> Agreement:
    """Run an exported file and its eager network (on the CPU, in eval mode) on normalised images.

    Raises:
        FileFormatError: the file cannot be opened.
    """
    exported = OnnxNetwork(path)
    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            expected = torch.cat([module(batch) for batch in images_NCHW.split(BATCH)]).numpy()
    finally:
        module.train(was_training)
    found = np.concatenate([exported.logits(batch.numpy()) for batch in images_NCHW.split(BATCH)])
    return Agreement.between(found, expected)
