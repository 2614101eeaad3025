"""What things cost, for whom and when.

Owns plans, their versions and charges, and the subscriptions of users. A
published version never changes. Gives `statements` the prices of every day;
computes no amount itself.
"""
