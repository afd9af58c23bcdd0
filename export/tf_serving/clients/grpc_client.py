"""Asks a model behind TF Serving's gRPC API. Needs `rest.py` beside it.

    pip install tensorflow-serving-api
    python grpc_client.py --url localhost:8500 --model gpt2 "Once upon a time"

The methods, errors and retries are those of `rest.Client`.
"""

import sys
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from rest import (
    LARGEST_REPLY,
    LONGEST_MESSAGE,
    BusyError,
    Client,
    RequestRefusedError,
    ServingError,
    main,
    sentence,
)
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

BUSY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
# Of the inputs that are no whole numbers.
DTYPES = {
    "text": object,
    "temperature": np.float32,
    "top_p": np.float32,
    "repetition_penalty": np.float32,
}


class GrpcClient(Client):
    """Asks one model of one server.

    Args:
        address: Host and port, such as `localhost:8500`.
        model, **settings: As `rest.Client` takes them.
    """

    def __init__(
        self, address: str = "localhost:8500", model: str = "gpt2", **settings: Any
    ) -> None:
        super().__init__(address, model, **settings)
        limit = [("grpc.max_receive_message_length", LARGEST_REPLY)]  # by default 4 MiB
        self.channel = grpc.insecure_channel(address, limit)
        self.service = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def send(self, signature: str, inputs: dict[str, list[Any]]) -> dict[str, Any]:
        """Sends one request, once."""
        request: Any = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            array = np.array(values, DTYPES.get(name, np.int32))
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            reply = self.service.Predict(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._error_of(error) from error
        try:
            return {name: _listed(name, tensor) for name, tensor in reply.outputs.items()}
        except (ValueError, TypeError) as error:
            raise ServingError(
                f"{self.url} answered with tensors that are none of this model: {error}."
            ) from error

    def _error_of(self, error: Any) -> ServingError:
        """Returns the exception for a failed call."""
        code, message = error.code(), (error.details() or "no message")[:LONGEST_MESSAGE]
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
            return ServingError(
                f"The answer has more than {LARGEST_REPLY} bytes. Send fewer texts at a time."
            )
        if code in BUSY:
            return BusyError(f"The server is busy ({code.name}): {message}.")
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return RequestRefusedError(sentence(message))
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServingError(
                f"No answer from {self.url} within {self.timeout} seconds. "
                "Ask for fewer tokens at a time, or allow more time."
            )
        return ServingError(f"The server answered {code.name}: {message}")


def _listed(name: str, tensor: Any) -> Any:
    """Returns a tensor as nested lists; strings as str, but as bytes where the name says so."""
    values = tf.make_ndarray(tensor)
    if values.dtype == object and not name.endswith("_bytes"):
        values = np.vectorize(bytes.decode, otypes=[object])(values)
    return values.tolist()


if __name__ == "__main__":
    sys.exit(main(GrpcClient, "localhost:8500"))
