"""Bitcoin's formats and rules, as far as custody needs them; the only room that knows wallycore.

Everything that comes from outside is either refused with a `BitcoinFault` or becomes a frozen
record whose bytes are canonical: there is exactly one serialisation of what was understood.
"""
