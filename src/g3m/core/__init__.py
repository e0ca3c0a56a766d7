"""The deciding layer: pure functions and frozen values.

Rule 1: nothing here opens a file or a socket, reads a clock or the environment, or starts a thread.
Rule 2: what a decision needs from outside (time, jitter, variables) is passed in.
"""
