"""Owns which reads may go to a read replica, and whether it is fresh enough for them.

Does not own what is read: faces choose by `@may_be_old`, capabilities do not know of it.
"""
