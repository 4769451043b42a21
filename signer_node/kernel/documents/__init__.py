"""The documents of the protocol: types, field rules, digests, signatures. No bytes are parsed here
(that is `signer_node.wire`)."""
