"""Operator candidates: the texts that the numbers of a genotype stand for."""

import re
from collections.abc import Sequence

from ...errors import ConfigError
from ...space import Block

_GRAMMAR = re.compile(r"MB([346]) ([357])x([357])")
OP_CANDIDATES = tuple(f"MB{ratio} {kernel}x{kernel}" for ratio in (3, 4, 6) for kernel in (3, 5, 7))
"""All nine operators, in the order of the experiments that use them all."""


def parse_op_candidates(op_candidates: str | Sequence[str]) -> tuple[Block, ...]:
    """The block of every candidate, in their order; a text on its own is a list of one.

    Raises:
        ConfigError: a candidate that is not `MB<expand ratio> <k>x<k>` with ratio 3, 4, 6 and kernel 3, 5, 7.
    """
    texts = [op_candidates] if isinstance(op_candidates, str) else list(op_candidates)
    if not texts:
        raise ConfigError("op_candidates is empty; name at least one operator, such as 'MB6 7x7'")
    return tuple(_parse(text) for text in texts)


def op_name(block: Block) -> str:
    """The candidate that stands for a block."""
    return f"MB{block.expand_ratio:g} {block.kernel_size}x{block.kernel_size}"


def _parse(text: str) -> Block:
    match = _GRAMMAR.fullmatch(str(text))
    if match is None or match[2] != match[3]:
        raise ConfigError(
            f"op_candidates: unknown operator {text!r}; it is written MB<expand ratio> <k>x<k> with ratio 3, 4 or 6 "
            "and kernel 3, 5 or 7, for example 'MB6 7x7'"
        )
    return Block(int(match[2]), int(match[1]))
