"""What can be wrong with Bitcoin data, as typed errors.

Every function of `kernel.bitcoin` and `kernel.vault` that refuses its input raises one of these
(or a subclass). The message names what was seen and never contains secret material.
"""


class BitcoinFault(ValueError):
    """Bitcoin data that we refuse."""


class InvalidTransaction(BitcoinFault):
    """Bytes that are not exactly one transaction in its only serialisation."""


class InvalidPsbt(BitcoinFault):
    """Bytes that are not exactly one unsigned PSBT of version 0 in its only serialisation."""


class UnknownPsbtField(InvalidPsbt):
    """A PSBT field that a custody manifest never carries: unknown, proprietary, signed, final."""


class InvalidAddress(BitcoinFault):
    """A string that is no address of this network, or a script that has no address."""


class InvalidKey(BitcoinFault):
    """A key, extended key or derivation path that cannot be used."""


class InvalidDescriptor(BitcoinFault):
    """An output descriptor that is not one of ours."""


class InvalidHeader(BitcoinFault):
    """A block header that breaks a consensus rule or a bound of ours."""


class UnknownParent(InvalidHeader):
    """A header whose predecessor is not known here: ask from further back."""


class InvalidBranch(BitcoinFault):
    """A Merkle branch that does not prove what it claims."""


class InvalidWords(BitcoinFault):
    """Words that are not the encoding of a 256-bit digest."""
