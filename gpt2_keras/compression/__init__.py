"""Smaller models: students of a teacher, pruned layers, neurons and vocabularies.

make_student            some layers of a teacher, to be distilled
prune                   fewer layers, a narrower feed-forward network, a smaller vocabulary
measure_importance      what layers and neurons contribute to a text
store_teacher_logits    a teacher's largest logits beside token shards, computed once

A student learns by `model.compile(distill_from=teacher)` and `fit()`, or `gpt2-keras train
--teacher DIR`. Fewer bits per weight are a matter of the export; see docs/compression.md.
"""

from gpt2_keras.compression.importance import Importance, measure_importance
from gpt2_keras.compression.pruning import prune
from gpt2_keras.compression.student import make_student
from gpt2_keras.compression.teacher_logits import store_teacher_logits

__all__ = [
    "Importance",
    "make_student",
    "measure_importance",
    "prune",
    "store_teacher_logits",
]
