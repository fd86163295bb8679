"""The commands of `ofa`, one file each: a config dataclass and a plain function that prints one screen."""
