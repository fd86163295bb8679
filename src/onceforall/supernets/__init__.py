"""Supernets: one module that holds the weights of every sub-network."""

from .base import Supernet
from .zoo import build_supernet, create_supernet, list_supernets, load_supernet, load_weights, save_supernet

__all__ = [
    "Supernet",
    "build_supernet",
    "create_supernet",
    "list_supernets",
    "load_supernet",
    "load_weights",
    "save_supernet",
]
