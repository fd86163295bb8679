"""Hydra's config groups: YAML files that set defaults; the typed fields themselves are dataclasses in the code."""
