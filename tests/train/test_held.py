"""Held batches: made once while they fit, anew where they do not, and not before they are needed."""

import pytest

from onceforall.train.held import HeldBatches


def test_what_fits_is_made_once_and_the_rest_anew():
    made: list[str] = []

    def maker(name: str):
        def make():
            made.append(name)
            yield from (f"{name}0", f"{name}1")

        return make

    held: HeldBatches[str] = HeldBatches(most_bytes=10)
    waiting = held.get("a", 6, maker("a"))
    assert not made
    assert list(waiting) == ["a0", "a1"]
    for _ in range(2):
        assert list(held.get("a", 6, maker("a"))) == ["a0", "a1"]
        assert list(held.get("large", 5, maker("large"))) == ["large0", "large1"]
        assert list(held.get("b", 4, maker("b"))) == ["b0", "b1"]
    assert made == ["a", "large", "b", "large"]


def test_what_could_not_be_made_is_made_when_asked_again():
    attempts = iter([OSError("unreadable"), None])

    def make():
        if error := next(attempts):
            raise error
        yield 1

    held: HeldBatches[int] = HeldBatches()
    with pytest.raises(OSError, match="unreadable"):
        list(held.get("a", 1, make))
    assert list(held.get("a", 1, make)) == [1]
