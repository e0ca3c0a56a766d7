"""The touching layer: each module deals with one part of the outside world.

Siblings do not import one another; `session` alone may import them all and hands them to the steps.
Foreign exceptions end here: what leaves this layer is a value or an error of `core.errors`.
"""
