"""What the node does to the world: files, clock, entropy, network. No rule lives here."""
