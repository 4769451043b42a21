"""Amounts, sizes and fee rates as plain integers; nothing is ever a float.

Amounts are satoshi. A weight is in weight units (BIP-141), a size in virtual bytes. Fee rates are
whole satoshi per virtual byte. Where a division does not come out even, a fee is rounded up and an
allowance is rounded down.
"""

SATOSHI_PER_BITCOIN = 100_000_000
MAX_MONEY_SAT = 21_000_000 * SATOSHI_PER_BITCOIN
"""Bitcoin Core's MAX_MONEY (consensus/amount.h): no amount or sum of amounts exceeds it."""
WEIGHT_PER_VBYTE = 4
MAX_TRANSACTION_WEIGHT = 400_000
"""Bitcoin Core's MAX_STANDARD_TX_WEIGHT (policy/policy.h)."""
PARTS_PER_MILLION = 1_000_000


class InvalidAmount(ValueError):
    """An amount that is no number of satoshi that can exist."""


def check_amount(amount_sat: int) -> None:
    """Raise `InvalidAmount` unless 0 <= amount_sat <= MAX_MONEY_SAT."""
    if not 0 <= amount_sat <= MAX_MONEY_SAT:
        raise InvalidAmount(f"{amount_sat} satoshi is outside 0..{MAX_MONEY_SAT}")


def check_payment(amount_sat: int) -> None:
    """Raise `InvalidAmount` unless the amount is positive and can exist."""
    if amount_sat == 0:
        raise InvalidAmount("a payment of 0 satoshi pays nothing")
    check_amount(amount_sat)


def vbytes_from_weight(weight: int) -> int:
    """Return ceil(weight / 4), the virtual size (BIP-141)."""
    return -(-weight // WEIGHT_PER_VBYTE)


def fee_sat_for_weight(weight: int, fee_rate_sat_vb: int) -> int:
    """Return the fee in satoshi that a transaction of this weight pays at this rate."""
    return vbytes_from_weight(weight) * fee_rate_sat_vb


def fee_rate_sat_vb(fee_sat: int, weight: int) -> int:
    """Return the fee rate, rounded up, of a fee on a transaction of this weight (positive)."""
    return -(-fee_sat // vbytes_from_weight(weight))


def share_ppm(part_sat: int, whole_sat: int) -> int:
    """Return part / whole in parts per million, rounded up; `whole_sat` is positive."""
    return -(-part_sat * PARTS_PER_MILLION // whole_sat)


def format_bitcoin(amount_sat: int) -> str:
    """Return an amount as bitcoin with all eight decimals, for screens: `0.00012345`."""
    sign = "-" if amount_sat < 0 else ""
    whole, rest = divmod(abs(amount_sat), SATOSHI_PER_BITCOIN)
    return f"{sign}{whole}.{rest:08d}"


def parse_bitcoin(text: str) -> int:
    """Return the satoshi of a decimal bitcoin amount with at most eight decimals.

    Raises `InvalidAmount` for anything else: signs, exponents, blanks, more decimals.
    """
    whole, dot, rest = text.partition(".")
    well_formed = text.isascii() and whole.isdigit() and (not dot or rest.isdigit())
    if not well_formed or len(whole) > 8 or len(rest) > 8:
        raise InvalidAmount(f"{text!r} is no amount of bitcoin like 0.00012345")
    amount_sat = int(whole) * SATOSHI_PER_BITCOIN + int(rest.ljust(8, "0"))
    check_amount(amount_sat)
    return amount_sat
