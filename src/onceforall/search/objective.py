"""What is optimised: a name, a function of codes, a direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import ConfigError
from ..space import SearchSpace
from .constraints import checked_values
from .operators import CodeFunction, Codes, Values


class Model(Protocol):
    """What predictors and latency models have in common."""

    @property
    def space(self) -> SearchSpace:
        """Whose codes `predict` takes."""
        ...

    def predict(self, archs: Codes, /) -> Values:
        """One value per row."""
        ...


@dataclass(frozen=True)
class Objective:
    """One thing to optimise: `function(codes (n, D)) -> (n,)`; minimised unless `maximise`.

    `cheap` says that calling it costs next to nothing (a table, a count): a search may then ask it about networks
    that it does not go on to score by the others.
    """

    name: str
    function: CodeFunction
    maximise: bool = False
    cheap: bool = False

    @classmethod
    def of(
        cls, name: str, model: Model | None, space: SearchSpace, *, maximise: bool = False, cheap: bool = False
    ) -> "Objective":
        """The predictions of a model for the codes of `space`.

        Raises ConfigError when there is no model, or it cannot take networks of this space.
        """
        if model is None:
            raise ConfigError(f"objective {name} has no model; fit or measure one, or leave the objective out")
        if model.space != space:
            adapt = getattr(model, "for_space", None)
            if adapt is None:
                raise ConfigError(
                    f"the model of objective {name} was made for space {model.space.name}, with other choices than the "
                    f"space to search, {space.name}"
                )
            adapted: Model = adapt(space)
            return cls(name, adapted.predict, maximise, cheap)
        return cls(name, model.predict, maximise, cheap)

    def minimised(self, codes: Codes) -> Values:
        """The values with the sign that makes smaller better. Raises ConfigError when one is no number."""
        values = checked_values(self.name, self.function, codes)
        return -values if self.maximise else values


def check_objectives(objectives: Sequence[Objective]) -> None:
    """Raise ConfigError unless there are two or more, each with a name of its own."""
    if len(objectives) < 2:
        raise ConfigError("a front needs at least two objectives; use evolve for one")
    if len({objective.name for objective in objectives}) < len(objectives):
        raise ConfigError("two objectives have the same name; name each one differently")
