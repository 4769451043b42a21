"""The coordinator's side of every conversation with the signer nodes: mailbox, ceremony, rounds."""
