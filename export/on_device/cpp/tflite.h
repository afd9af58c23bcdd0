// What generate.cc needs of TensorFlow Lite's C API, whose library ships without headers.
// Source: tensorflow/lite/core/c/c_api.h and c_api_types.h, a stable ABI.
#ifndef GPT2_KERAS_TFLITE_H_
#define GPT2_KERAS_TFLITE_H_

#include <cstddef>
#include <cstdint>

extern "C" {
typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteInterpreterOptions TfLiteInterpreterOptions;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteSignatureRunner TfLiteSignatureRunner;
typedef struct TfLiteTensor TfLiteTensor;
typedef int TfLiteStatus;  // 0: well

TfLiteModel* TfLiteModelCreateFromFile(const char* path);
void TfLiteModelDelete(TfLiteModel*);

TfLiteInterpreterOptions* TfLiteInterpreterOptionsCreate();
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions*, int32_t);
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions*);

TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel*, const TfLiteInterpreterOptions*);
void TfLiteInterpreterDelete(TfLiteInterpreter*);

TfLiteSignatureRunner* TfLiteInterpreterGetSignatureRunner(const TfLiteInterpreter*,
                                                           const char* name);
TfLiteStatus TfLiteSignatureRunnerResizeInputTensor(TfLiteSignatureRunner*, const char* name,
                                                    const int* lengths, int32_t num_axes);
TfLiteStatus TfLiteSignatureRunnerAllocateTensors(TfLiteSignatureRunner*);
TfLiteTensor* TfLiteSignatureRunnerGetInputTensor(TfLiteSignatureRunner*, const char* name);
TfLiteStatus TfLiteSignatureRunnerInvoke(TfLiteSignatureRunner*);
const TfLiteTensor* TfLiteSignatureRunnerGetOutputTensor(const TfLiteSignatureRunner*,
                                                         const char* name);
void TfLiteSignatureRunnerDelete(TfLiteSignatureRunner*);

TfLiteStatus TfLiteTensorCopyFromBuffer(TfLiteTensor*, const void* data, size_t num_bytes);
void* TfLiteTensorData(const TfLiteTensor*);
size_t TfLiteTensorByteSize(const TfLiteTensor*);
}  // extern "C"

#endif  // GPT2_KERAS_TFLITE_H_
