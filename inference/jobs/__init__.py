"""Long work: queued as a row, claimed by the training worker, done by a child process of its own.

The child may import TensorFlow and is ended after its work, so that the worker stays small and a
crash takes nothing with it.
"""
