"""Shamir's interpolation, as a thief of shares would do it: plain integers, for tests only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def interpolate(shares: Mapping[int, bytes]) -> bytes:
    """The value at zero of the polynomial of these shares, by their x coordinates (from 1)."""
    total = 0
    for x, share in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = weight * other * pow(other - x, -1, ORDER) % ORDER
        total += int.from_bytes(share) * weight
    return (total % ORDER).to_bytes(32)
