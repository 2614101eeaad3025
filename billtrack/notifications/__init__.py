"""What billtrack tells people and programs of its own accord: mail.

Owns what is sent and whether it arrived. Does not decide when: the rooms above do.
"""
