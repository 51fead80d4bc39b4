"""Texts too large for a model's window, held in a confined worker process that a model explores step by step.

`sources` says which texts, `worker` runs the process, `detection` and `chunking` know four kinds of content. The loop
that lets a model drive it is not here. This file imports nothing: the worker process reads it too.
"""
