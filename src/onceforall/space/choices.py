"""What can be chosen in one stage."""

from dataclasses import dataclass

from .arch import Block


@dataclass(frozen=True)
class StageChoices:
    """The allowed values of one stage, each ascending: per block a kernel size and an expand ratio; one depth.

    Attributes:
        expand_of_depth: the one expand ratio that goes with each of `depths`, for all blocks of the stage (CompOFA,
            Sahni et al., ICLR 2021); empty where blocks choose for themselves.
        alike: all blocks of the stage have the kernel size and expand ratio of the first.
    """

    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    depths: tuple[int, ...]
    expand_of_depth: tuple[float, ...] = ()
    alike: bool = False

    @property
    def ratios(self) -> tuple[float, ...]:
        """The expand ratios that networks have, ascending: of those allowed, where depths imply one, the implied."""
        return tuple(sorted(set(self.expand_of_depth))) or self.expand_ratios

    @property
    def size(self) -> int:
        """Number of different stages."""
        choices = len(self.kernel_sizes) * (1 if self.expand_of_depth else len(self.expand_ratios))
        return sum(choices ** min(depth, 1) if self.alike else choices**depth for depth in self.depths)

    def blocks(self, index: int) -> tuple[Block, ...]:
        """The stage with the value at `index` (0 or -1) of every choice."""
        ratio = self.expand_of_depth[index] if self.expand_of_depth else self.expand_ratios[index]
        return (Block(self.kernel_sizes[index], ratio),) * self.depths[index]
