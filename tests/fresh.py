"""Makes this process like a new one."""

from __future__ import annotations

from functools import _lru_cache_wrapper

from chalicelib import aws, bootstrap, settings


def forget_everything() -> None:
    """Empty every cache of the composition root, as a new process would have them."""
    for module in (aws, bootstrap, settings):
        for member in vars(module).values():
            if isinstance(member, _lru_cache_wrapper):
                member.cache_clear()
