"""Readers and writers of other projects' files; nothing else knows their formats."""

from . import mmrazor, nnablanas, official

__all__ = ["mmrazor", "nnablanas", "official"]
