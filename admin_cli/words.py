"""How numbers of things are said."""

from __future__ import annotations

_KILO = 1000


def counted(count: int, one: str, many: str = "") -> str:
    """Return e.g. ``1 key`` or ``2 keys``. `many`: the plural, where it is more than an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def sized(size: int) -> str:
    """Return so many bytes in the largest decimal unit that leaves a digit before the point."""
    if size < _KILO:
        return counted(size, "byte")
    amount = size / _KILO
    for unit in ("kB", "MB"):
        if amount < _KILO:
            return f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:,.1f} GB"
