"""The target that counts for nothing."""

# A target that is no token: padding, or a part of the text that is not to be learned.
# The value is that of PyTorch's CrossEntropyLoss(ignore_index), which datasets are made for.
IGNORED_TARGET = -100
