"""One program for each loader that bench/load.py compares; load_run.py runs one of them and keeps the time.

A module has `batches(job)`: pairs of pictures and captions, until the epoch or whoever asks ends. It may have
`prepare(job)`: what is done before the clock runs. Peers' own packages are imported at the top, so that the
clock of the first batch does not count them.
"""
