"""Decoded images that stay in memory for the next network that needs them."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Batch = TypeVar("Batch")
Made = TypeVar("Made", bound=Iterable)


class HeldBatches(Generic[Batch]):
    """Batches by key, made once and held as long as all of them fit into `most_bytes`.

    Those that do not fit are made anew for everyone who asks.
    """

    def __init__(self, most_bytes: int = 2**31) -> None:
        self._left = most_bytes
        self._held: dict[Hashable, list[Batch]] = {}

    def get(self, key: Hashable, nbytes: int, make: Callable[[], Made]) -> Made | list[Batch]:
        """The batches of a key, `nbytes` of memory when held: a list then, else what `make` gives."""
        if key not in self._held:
            if nbytes > self._left:
                return make()
            self._held[key] = list(make())
            self._left -= nbytes
        return self._held[key]
