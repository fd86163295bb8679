"""`ofa list`: every search space with its size, parameters and MACs."""

from dataclasses import dataclass, field


@dataclass
class ListConfig:
    """What to list."""

    num_classes: int = field(default=1000, metadata={"help": "number of classes the networks are counted with"})


def list_networks(config: ListConfig) -> list[dict[str, object]]:
    return []
