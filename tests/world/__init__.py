"""The world: real cores, journals and rules in one process; time, chain and network are ours."""
