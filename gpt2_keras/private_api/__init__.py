"""Private names of Keras and TensorFlow that cannot be avoided: all of them, and nowhere else.

`tests/test_private_api.py` has a test for each, which fails when a new version changes it.
"""
