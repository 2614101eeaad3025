"""What a customer can be sent about a period: asked for here, built here.

Owns the `reports` rows and what a usage report says. Figures come from
`statements`; rendering and keeping the file is the work of `documents`.
"""
