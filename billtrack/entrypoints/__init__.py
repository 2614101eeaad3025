"""How billtrack is started: web server, worker, supervisor, command line, backups, first start.

The only room that knows all others: here the parts meet.
"""
