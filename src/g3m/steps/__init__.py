"""The verbs: resolve, find, fetch, arrange, pack, adopt, publish, check.

A step takes values and a session and yields events; it knows no process, no cluster and no terminal.
"""
