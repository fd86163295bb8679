"""`ofa list`: every search space with its size, parameters and MACs."""

from dataclasses import dataclass, field

from ..configuration import check_least
from .screen import console, millions, quantity, table


@dataclass
class ListConfig:
    """What the networks are counted with."""

    num_classes: int = field(default=1000, metadata={"help": "classes of the classifier that is counted"})
    in_chans: int = field(default=3, metadata={"help": "channels of the input image"})


@dataclass(frozen=True)
class ListedSpace:
    """One search space: its size per resolution, and the range of its costs at its largest resolution."""

    name: str
    size_per_resolution: int
    resolutions: tuple[int, ...]
    params: tuple[int, int]
    macs: tuple[int, int]


def list_networks(config: ListConfig) -> list[ListedSpace]:
    """Print and return every search space; smallest and largest network give the ranges."""
    from ..cost.analytic import count_macs, count_params
    from ..space import create_space, list_spaces

    check_least(config, num_classes=1, in_chans=1)
    listed: list[ListedSpace] = []
    for name in list_spaces():
        space = create_space(name, config.num_classes, config.in_chans)
        at_largest = space.restrict(resolutions=space.resolutions[-1:])
        ends = [at_largest.smallest, at_largest.largest]
        small_params, large_params = map(int, count_params(space, ends))
        small_macs, large_macs = map(int, count_macs(space, ends))
        listed.append(
            ListedSpace(
                name,
                space.size_per_resolution,
                space.resolutions,
                (small_params, large_params),
                (small_macs, large_macs),
            )
        )
    rows = [
        (
            item.name,
            quantity(item.size_per_resolution),
            _span(item.resolutions),
            f"{millions(item.params[0])} … {millions(item.params[1])}",
            f"{millions(item.macs[0])} … {millions(item.macs[1])}",
        )
        for item in listed
    ]
    out = console()
    out.print(
        table(
            f"search spaces, {config.num_classes} classes",
            ("name", "networks per resolution", "resolution, px", "parameters", "MACs at the largest resolution"),
            rows,
        )
    )
    out.print("Any width multiplier after _w. Any resolutions: space.resolutions=[...].")
    return listed


def _span(resolutions: tuple[int, ...]) -> str:
    return (
        f"{resolutions[0]}" if len(resolutions) == 1 else f"{resolutions[0]} … {resolutions[-1]} ({len(resolutions)})"
    )
