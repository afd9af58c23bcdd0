"""Products in bfloat16, which TensorFlow cannot compute where oneDNN is limited to AVX2.

`tf.matmul` of two bfloat16 matrices ends the process with a segmentation fault on a processor
with AVX-512 when ONEDNN_MAX_CPU_ISA hides it from oneDNN: TensorFlow 2.21 asks the processor
whether oneDNN has such a product, and not oneDNN. A processor without AVX-512 is not affected.
"""

import os

import pytest

_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI")
needs_bfloat16 = pytest.mark.skipif(
    os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_BFLOAT16,
    reason="ONEDNN_MAX_CPU_ISA makes TensorFlow crash in any bfloat16 product",
)
