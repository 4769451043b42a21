"""Page tokens (AIP-158): the last key of a page, bound by HMAC to the filter it was given for.

A token holds nothing secret; the MAC keeps callers from building meaning on its inside and from
walking on with another filter than they began with.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from custodyd.errors import CustodydError, ErrorId

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 1_000
_KEY_BYTES: Final = 8
_MAC_BYTES: Final = 16


def page_limit(page_size: int) -> int:
    """Rows of a page: 0 asks for the default, too many are cut to MAX_PAGE; negative is refused."""
    if page_size < 0:
        raise CustodydError(ErrorId.ARGUMENT_INVALID, "page_size is negative", field="page_size")
    return min(page_size, MAX_PAGE) if page_size else DEFAULT_PAGE


def page_token(secret: bytes, filter_text: str, last_key: int) -> str:
    """The token by which a list goes on after `last_key`."""
    key = last_key.to_bytes(_KEY_BYTES, "big")
    return urlsafe_b64encode(key + _mac(secret, filter_text, key)).decode().rstrip("=")


def page_start(secret: bytes, filter_text: str, token: str) -> int | None:
    """The key after which the page starts; None for the first page. Raises PAGE_TOKEN_INVALID."""
    if not token:
        return None
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    key = raw[:_KEY_BYTES]
    if not hmac.compare_digest(raw[_KEY_BYTES:], _mac(secret, filter_text, key)):
        raise CustodydError(ErrorId.PAGE_TOKEN_INVALID, field="page_token")
    return int.from_bytes(key, "big")


def _mac(secret: bytes, filter_text: str, key: bytes) -> bytes:
    return hmac.digest(secret, filter_text.encode() + b"\0" + key, "sha256")[:_MAC_BYTES]
