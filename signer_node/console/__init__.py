"""How a person talks to a node: a local socket, and the screen on which they decide."""
