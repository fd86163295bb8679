"""Which networks to measure, and measuring them one by one so that nothing is lost."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ..errors import ConfigError, RunError
from ..space import Arch, SearchSpace
from .labels import Label, LabelStore
from .operators import CodeFunction, Codes, Values, enumerate_codes, unique_codes
from .proposals import Goal, propose_codes
from .sampling import initial_codes

Evaluate = Callable[[list[Arch]], Iterable[tuple[float, float]]]
Progress = Callable[[int, int], None]

SAMPLINGS = ("active", "spread", "random")
_FIRST, _ROUND = 40, 20  # networks of an active collection before the first predictor, and between two of them
_ROUNDS = 3  # times the predictor is refitted; each round's proposals teach it where the front is


def collect_labels(
    space: SearchSpace,
    evaluate: Evaluate,
    cost: CodeFunction,
    count: int,
    labels: LabelStore,
    *,
    sampling: str = "spread",
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Label]:
    """Measure `count` networks of a space; labels that exist are reused, so a killed collection goes on.

    Args:
        evaluate: measures networks and gives (top-1 in 0..1, standard error) for each in order; a generator is
            consumed one network at a time and each result stored before the next.
        cost: of codes; what "spread" is even over, and what the front of "active" is drawn against.
        count: networks, fewer in a smaller space.
        sampling: "spread" over the cost (see `initial_codes`); uniformly "random"; or "active": begin spread, then in
            rounds of 20 fit a predictor, search its front and measure that. A longer active or random collection begins
            with the networks of a shorter one.

    Raises:
        ConfigError: an unknown sampling. RunError: `evaluate` gave fewer results than networks.
    """
    if sampling not in SAMPLINGS:
        raise ConfigError(f"sampling={sampling}: use {', '.join(SAMPLINGS)}")
    count = min(count, space.size)
    goal = Goal.of({"cost": cost}, None, None)
    own: list[Label] = []

    def measure(codes: Codes) -> None:
        for label in measured(labels, space.decode(codes[: count - len(own)]), evaluate):
            own.append(label)
            if progress is not None:
                progress(len(own), count)

    if sampling == "random":
        measure(random_codes(space, count, seed))
    else:
        measure(initial_codes(space, _FIRST if sampling == "active" else count, cost, seed))
    while len(own) < count:
        measure(propose_codes(space, goal, [label.arch for label in own], top1_of(own), _ROUND, seed + len(own)))
    return own


def collect_active(
    space: SearchSpace,
    evaluate: Evaluate,
    goal: Goal,
    count: int,
    labels: LabelStore,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Label]:
    """Measure networks where a search will look: on the front and, where there are limits, the best within them.

    Half of them are spread over the whole space, whatever the limits are, so a second search with other limits finds
    them in `labels`. The rest follows in rounds: fit a predictor, search its front and its best networks within the
    limits, measure those. A space of at most `count` networks is measured completely. Arguments as `collect_labels`.
    """
    own: list[Label] = []

    def measure(codes: Codes) -> None:
        for label in measured(labels, space.decode(codes), evaluate):
            own.append(label)
            if progress is not None:
                progress(len(own), count)

    if space.size <= count:
        measure(enumerate_codes(space, count))
        return own
    measure(initial_codes(space, (count + 1) // 2, goal.costs[goal.front_cost], seed))
    for rounds_left in range(_ROUNDS, 0, -1):
        wanted = -(-(count - len(own)) // rounds_left)
        if wanted:  # proposals see only these labels, so a resumed collection proposes the same networks
            measure(propose_codes(space, goal, [label.arch for label in own], top1_of(own), wanted, seed))
    return own


def random_codes(space: SearchSpace, count: int, seed: int) -> Codes:
    """`count` distinct networks (fewer in a smaller space), every choice drawn uniformly."""
    if space.size <= count:
        return enumerate_codes(space, count)
    rng = np.random.default_rng(seed)
    codes = space.sample_codes(count, rng)
    while len(codes := unique_codes(codes)) < count:
        codes = np.concatenate([codes, space.sample_codes(count, rng)])
    return codes[:count]


def measured(store: LabelStore, archs: Sequence[Arch], evaluate: Evaluate) -> Iterator[Label]:
    """Labels of the architectures in order, from the store or measured now and stored one by one.

    Raises RunError when `evaluate` gives fewer results than networks.
    """
    missing = [arch for arch in archs if arch not in store]
    results = iter(evaluate(missing)) if missing else iter(())
    for arch in archs:
        label = store.get(arch)
        if label is None:
            result = next(results, None)
            if result is None:
                raise RunError(f"the evaluation gave fewer results than the {len(missing)} networks it was asked for")
            label = store.add(arch, *result)
        yield label


def top1_of(labels: Sequence[Label]) -> Values:
    """Measured accuracies (n,)."""
    return np.array([label.top1 for label in labels])
