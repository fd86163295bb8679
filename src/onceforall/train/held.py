"""Decoded images that stay in memory for the next network that needs them."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class HeldBatches(Generic[Batch]):
    """Batches by key, made once and held as long as all of them fit into `most_bytes`.

    Those that do not fit are made anew for everyone who asks.
    """

    def __init__(self, most_bytes: int = 2**31) -> None:
        self._left = most_bytes
        self._held: dict[Hashable, list[Batch]] = {}

    def fits(self, nbytes: int) -> bool:
        """Whether so many bytes more can be held."""
        return nbytes <= self._left

    def get(self, key: Hashable, nbytes: int, make: Callable[[], Iterable[Batch]]) -> Iterator[Batch]:
        """Yield the batches of a key, `nbytes` of memory when held; nothing is made before the first is asked for."""
        if key not in self._held and self.fits(nbytes):
            self._held[key] = list(make())
            self._left -= nbytes
        yield from self._held[key] if key in self._held else make()
