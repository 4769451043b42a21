"""FROST threshold signing to BIP-445, draft v0.12.1, in the BIP's names and order.

    threshold      what key generation made: threshold info and its checks; the signers of a session
    tweaking       plain (BIP-32) and x-only (BIP-341) tweaks of the threshold public key
    commitments    public nonces and their aggregate
    package        the session context, and the values that every party derives from it
    signing        secret nonces and partial signatures: the only file that takes a share
    aggregation    partial signatures verified and added up to one BIP-340 signature
    blame          who must not have sent what

Below them lie `points` and `secret_scalars` (libsecp256k1) and `faults` (what is raised). All but
`signing` and `secret_scalars` is public arithmetic and runs at the coordinator too, which must
never import those two.

Two of the BIP's options are left out on purpose: there is no deterministic signing (a nonce comes
from fresh randomness or not at all), and no secret nonce is ever stored.
"""
