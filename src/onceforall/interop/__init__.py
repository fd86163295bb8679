"""Readers and writers of other projects' files; nothing else knows their formats."""

from . import official

__all__ = ["official"]
