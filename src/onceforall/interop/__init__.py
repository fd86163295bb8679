"""Readers and writers of other projects' files; nothing else knows their formats."""

from . import mmrazor, official

__all__ = ["mmrazor", "official"]
