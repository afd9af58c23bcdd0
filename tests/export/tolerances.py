"""How far rounding may move what an artifact and the model compute of the same text."""

import numpy as np

from tests.test_model import ROUNDING


def log_prob_error(model, token_ids):
    """The largest difference of log-probabilities, or relative one of probabilities.

    A log-probability is a logit less a log-sum-exp of logits: two numbers of the size of the
    logits, each off by ROUNDING of the largest, in the artifact and in the model.
    """
    ids = np.array([[model.tokenizer.end_token_id, *token_ids]])[:, : model.config.context_length]
    return 4 * ROUNDING * float(np.abs(model(ids)).max())
