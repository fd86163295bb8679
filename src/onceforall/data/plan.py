"""Which images a step sees and how they are changed: functions of (seed, epoch) and (seed, step).

So a run can start at any step, and n ranks see together what one process sees.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .augment import AugmentConfig, Draws, draw

_ORDER, _AUGMENT, _CROP, CALIBRATION, _COLOUR = range(5)  # so that no two purposes share their random numbers


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches in one pass; an incomplete last one is dropped, and a set smaller than a batch makes one."""
    return max(1, images // batch_size)


@dataclass(frozen=True)
class StepPlan:
    """Which images each step sees on this rank, and how they are changed."""

    batch_size: int
    part: slice
    seed: int
    steps: range
    resolution_of: Callable[[int], int]
    augment: AugmentConfig | None

    def indices(self, images: int) -> Iterator[tuple[int, np.ndarray]]:
        """(step, this rank's part of the joint batch), from one permutation an epoch."""
        per_epoch = steps_per_epoch(images, self.batch_size)
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in self.steps:
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(images)
                order = np.resize(order, max(images, self.batch_size))  # a small set starts again
            start = step % per_epoch * self.batch_size
            yield step, order[start : start + self.batch_size][self.part]

    def draws(self, step: int, shift: int, flip: bool) -> Draws:
        """This rank's part of what is drawn for the joint batch."""
        return draw(self._generator(_AUGMENT, step), self.batch_size, shift=shift, flip=flip).at(self.part)

    def crop_seeds(self, step: int) -> np.ndarray:
        """One seed per image of this rank's part."""
        return self._generator(_CROP, step).integers(2**63, size=self.batch_size)[self.part]

    def colour_factors(self, step: int) -> np.ndarray | None:
        """Brightness and saturation factors of this rank's part, float32 (n, 2); None where colours stay."""
        if self.augment is None or self.augment.brightness == self.augment.saturation == 0:
            return None
        spread = 2 * self._generator(_COLOUR, step).random((self.batch_size, 2)) - 1
        factors = 1 + spread * (self.augment.brightness, self.augment.saturation)
        return factors[self.part].astype(np.float32)

    def _generator(self, purpose: int, step: int) -> np.random.Generator:
        return np.random.default_rng((purpose, self.seed, step))
