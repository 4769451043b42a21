"""A regtest Bitcoin node for trying custodyd: consensus by Bitcoin Core's own code.

It speaks the subset of Bitcoin Core's JSON-RPC that custodyd needs, so that the same client talks
to a real bitcoind. Around the consensus library it adds what a single node needs and no more: a
durable journal, a view of unspent outputs, a mempool, block assembly, the RPC port. It has no
peers, and its coins are worth nothing. It shares no transaction code with the signer: what the
signer made is judged by other eyes here.

A block's way: `rpc_mining` -> `node` -> `consensus` (the verdict) -> `chain_index`, `coins`,
`mempool` (the views) -> `journal` (fsync) -> the answer.
"""

from custodyd.devnet.service import Devnet, DevnetConfig, DevnetFailed, main, serve

__all__ = ["Devnet", "DevnetConfig", "DevnetFailed", "main", "serve"]
