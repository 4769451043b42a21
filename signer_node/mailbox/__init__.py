"""The one RPC that connects a signer node with the world (generated from proto/)."""
