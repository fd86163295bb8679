"""Plausible accuracies and costs of architectures, for tests that would otherwise need a trained supernet."""

from dataclasses import dataclass

import numpy as np

from onceforall.search.operators import Codes, Values
from onceforall.space import SearchSpace


@dataclass(frozen=True)
class Landscape:
    """Accuracy saturates with capacity and wants balanced stages; costs add up over blocks."""

    space: SearchSpace
    seed: int = 0

    def _stages(self, codes: Codes) -> tuple[Values, Values]:
        """Capacity (n, stages) and cost (n,)."""
        generator = np.random.default_rng(self.seed)
        weight = generator.uniform(0.3, 1.5, len(self.space.stages))
        kernel_share = generator.uniform(0.0, 0.4, len(self.space.stages))
        resolution = np.array(self.space.resolutions)[codes[:, 0]] / self.space.resolutions[-1]
        capacity = np.zeros((len(codes), len(self.space.stages)))
        cost = np.full(len(codes), 0.3)
        column = 1
        for index, stage in enumerate(self.space.stages):
            column += 1
            for position in range(stage.depths[-1]):
                kernel = np.array([0, *stage.kernel_sizes])[codes[:, column]] / stage.kernel_sizes[-1]
                expand = np.array([0, *stage.expand_ratios])[codes[:, column + 1]] / stage.expand_ratios[-1]
                capacity[:, index] += weight[index] * (expand + kernel_share[index] * kernel) * 0.8**position
                cost += expand * (1 + 0.3 * kernel**2) * 1.3**index * resolution**2
                column += 2
        return capacity * resolution[:, None] ** 0.7, cost

    def accuracy(self, codes: Codes) -> Values:
        """Top-1 between about 0.6 and 0.9."""
        capacity, _ = self._stages(codes)
        ends, _ = self._stages(self.space.encode([self.space.smallest, self.space.largest]))
        low, high = np.log(ends.sum(axis=1))
        grown = (np.log(capacity.sum(axis=1)) - low) / (high - low)
        balance = capacity.std(axis=1) / capacity.mean(axis=1)
        return 0.70 + 0.16 * (1 - np.exp(-2 * grown)) - 0.03 * balance

    def macs(self, codes: Codes) -> Values:
        """Multiply-adds, in the order of ten million."""
        return 1e7 * self._stages(codes)[1]

    def latency(self, codes: Codes) -> Values:
        """Milliseconds: MACs and a fixed price per block, so that small and deep is slow."""
        blocks = (codes[:, 2:] > 0).sum(axis=1) / 2
        return self.macs(codes) / 2e7 + 0.2 * blocks + 0.5

    def middle(self) -> float:
        """A limit on MACs half way between smallest and largest on a log scale."""
        ends = self.macs(self.space.encode([self.space.smallest, self.space.largest]))
        return float(np.exp(np.log(ends).mean()))
