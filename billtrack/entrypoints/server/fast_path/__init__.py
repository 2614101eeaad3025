"""The two hot routes without the framework: one usage record in, one out by its id.

Owns nothing but the short way. It answers only what is plain: a live API key that may, a
body as it should be. Whatever is not, it hands on untouched, so that each refusal is worded
and decided in one place, the route itself. What it does answer is what the route would have
answered, byte by byte; it calls the same operations and is measured and logged alike.
"""
