"""The server adapter: how Granian's requests (ASGI) reach the fast path and the application.

Owns reading bodies, with their limits of size, time and memory, and sending answers. Knows
neither routes nor accounts; the gate asks `request_head` and `access`.
"""
