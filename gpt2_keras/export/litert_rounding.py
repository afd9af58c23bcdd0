"""Rounds the integers of a quantized `.tflite` file again, by what the products read on text.

The quantizer has chosen the scales; which of the two nearest integers a weight becomes is decided
here, by `gptq`, and written over those in the file.
"""

from typing import Any

import numpy as np

from gpt2_keras.export.calibration import Calibration
from gpt2_keras.export.gptq import gptq
from gpt2_keras.private_api.tensorflow import lite_schema

schema = lite_schema()

INT4_MAX, INT8_MAX = 7, 127  # -8 and -128 stay unused, so that the range is symmetric around 0


def round_by_calibration(quantized: bytearray, contents: bytes, calibration: Calibration) -> None:
    """Rounds the weights of a quantized file by a calibration, in place.

    Args:
        quantized: The quantized file.
        contents: The float32 file that it was made of.
        calibration: The model, whose products are in the file, and the text.
    """
    tensors = _integer_kernels(quantized, contents)
    for layer, hessian in calibration.hessians():
        kernel = layer.merged_kernel()
        if (found := tensors.pop(kernel.tobytes(), None)) is not None:
            found.write(gptq(kernel, found.scales, hessian, found.largest))


class _IntegerKernel:
    """A quantized kernel in a file.

    Args:
        contents: The file.
        model: The same, read.
        graph: The subgraph.
        tensor: The tensor, int4 in blocks or int8 by row.
    """

    def __init__(self, contents: bytearray, model: Any, graph: Any, tensor: Any) -> None:
        self._data = _bytes_of(contents, model, tensor)
        self._is_int4 = tensor.Type() == schema.TensorType.INT4
        self.largest = INT4_MAX if self._is_int4 else INT8_MAX
        quantization = tensor.Quantization()
        if quantization.DetailsType() == schema.QuantizationDetails.BlockwiseQuantization:
            details = schema.BlockwiseQuantization()
            details.Init(quantization.Details().Bytes, quantization.Details().Pos)
            found = _bytes_of(contents, model, graph.Tensors(details.Scales()))
            scales = found.view(np.float16).astype(np.float32)
        else:
            scales = quantization.ScaleAsNumpy()
        self.scales = scales.reshape(int(tensor.ShapeAsNumpy()[0]), -1)  # (units, blocks)

    def write(self, integers: np.ndarray) -> None:
        """Writes integers, int8 (units, width), over those in the file."""
        values = integers.ravel().view(np.uint8)
        # The first of two int4 is in the lower half of a byte.
        packed = (values[::2] & 15) | (values[1::2] << 4) if self._is_int4 else values
        self._data[:] = packed


def _integer_kernels(quantized: bytearray, contents: bytes) -> dict[bytes, _IntegerKernel]:
    """Returns the kernels of products in a file by their float32 bytes."""
    old, new = (schema.Model.GetRootAs(each) for each in (contents, quantized))
    codes = [old.OperatorCodes(i).BuiltinCode() for i in range(old.OperatorCodesLength())]
    found: dict[bytes, _IntegerKernel] = {}
    for number in range(old.SubgraphsLength()):
        graph, changed = old.Subgraphs(number), new.Subgraphs(number)
        by_name = {
            changed.Tensors(i).Name(): changed.Tensors(i) for i in range(changed.TensorsLength())
        }
        for op in map(graph.Operators, range(graph.OperatorsLength())):
            if codes[op.OpcodeIndex()] != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            tensor = graph.Tensors(op.Inputs(1))
            kernel = _bytes_of(contents, old, tensor).tobytes()
            if kernel and kernel not in found:
                found[kernel] = _IntegerKernel(quantized, new, changed, by_name[tensor.Name()])
    return found


def _bytes_of(contents: bytes | bytearray, model: Any, tensor: Any) -> np.ndarray:
    """Returns the contents of a tensor, uint8 `(size,)`, which are those in the file."""
    buffer = model.Buffers(tensor.Buffer())
    if buffer.Offset() > 1:  # after the FlatBuffer, where large ones are
        return np.frombuffer(contents, np.uint8, buffer.Size(), buffer.Offset())
    data = buffer.DataAsNumpy()
    return data if isinstance(data, np.ndarray) else np.empty(0, np.uint8)
