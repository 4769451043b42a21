"""The signer's machines: pure steps over what the journal says (docs/adr: machines only in
conversations). Nothing here does I/O, reads a clock or draws entropy: all of it is passed in."""
