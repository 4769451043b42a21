"""A 256-bit digest as 24 words that people compare aloud (BIP-39, English list).

The whole digest is shown: whoever prepares a genesis could search for another one that agrees in
fewer bits.
"""

from signer_node.kernel.bitcoin import wally
from signer_node.kernel.bitcoin.faults import InvalidWords

DIGEST_BYTES = 32
WORD_COUNT = 24
_MAX_TEXT = 24 * 9 + 64


def words_from_digest(digest: bytes) -> tuple[str, ...]:
    """Return the 24 words of a 32-byte digest; the last one holds the checksum."""
    if len(digest) != DIGEST_BYTES:
        raise InvalidWords(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
    return tuple(wally.words_from_entropy(digest).split(" "))


def digest_from_words(text: str) -> bytes:
    """Return the digest that 24 words encode; case and blanks between words do not matter.

    Raises `InvalidWords` for another number of words, an unknown word or a wrong checksum.
    """
    words = text[: _MAX_TEXT * 4].lower().split()
    if len(words) != WORD_COUNT:
        raise InvalidWords(f"{WORD_COUNT} words are wanted, not {len(words)}")
    return wally.entropy_from_words(" ".join(words))
