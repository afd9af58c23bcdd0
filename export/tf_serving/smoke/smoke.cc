// Loads a SavedModel with the loader that TensorFlow Serving uses, and asks every
// signature that gpt2_keras exports. One line of JSON for each answer.
//
//   smoke VERSION_DIRECTORY [--bad] TEXT...
//   smoke VERSION_DIRECTORY --benchmark BATCH NEW_TOKENS RUNS
//
// --bad sends an empty text to every signature first: an answer with "error", and then
// the answers to the texts. Exit status: 0 done, 1 failed, 2 wrong usage.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"

namespace {

using tensorflow::SavedModelBundle;
using tensorflow::SignatureDef;
using tensorflow::Tensor;
using tensorflow::tstring;
using Named = std::map<std::string, Tensor>;

// The values of a tensor of any shape, in row-major order.
template <typename T>
T* Values(const Tensor& tensor) {
  return static_cast<T*>(tensor.data());
}

Tensor Strings(const std::vector<std::string>& values) {
  const auto size = static_cast<int64_t>(values.size());
  Tensor tensor(tensorflow::DT_STRING, tensorflow::TensorShape({size}));
  for (size_t i = 0; i < values.size(); ++i) Values<tstring>(tensor)[i] = values[i];
  return tensor;
}

Tensor Integers(int64_t size, int32_t value) {
  Tensor tensor(tensorflow::DT_INT32, tensorflow::TensorShape({size}));
  for (int64_t i = 0; i < size; ++i) Values<int32_t>(tensor)[i] = value;
  return tensor;
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[7];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      quoted += escape;
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// Bytes need not be UTF-8, which JSON must be.
std::string Hexadecimal(const std::string& bytes) {
  std::string json = "{\"hex\": \"";
  for (const char c : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
    json += digits;
  }
  return json + "\"}";
}

std::string Value(const Tensor& tensor, bool is_bytes, int64_t i) {
  if (tensor.dtype() == tensorflow::DT_STRING) {
    const std::string value(Values<tstring>(tensor)[i]);
    return is_bytes ? Hexadecimal(value) : Quoted(value);
  }
  if (tensor.dtype() == tensorflow::DT_INT32) return std::to_string(Values<int32_t>(tensor)[i]);
  const float value = Values<float>(tensor)[i];
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.9g", value);
  return digits;
}

// Writes the part of a tensor from value *next on that an axis spans.
std::string Json(const Tensor& tensor, bool is_bytes, int axis, int64_t* next) {
  if (axis == tensor.dims()) return Value(tensor, is_bytes, (*next)++);
  std::string json = "[";
  for (int64_t i = 0; i < tensor.dim_size(axis); ++i) {
    if (i > 0) json += ", ";
    json += Json(tensor, is_bytes, axis + 1, next);
  }
  return json + "]";
}

bool EndsWithBytes(const std::string& name) {
  const std::string ending = "_bytes";
  return name.size() >= ending.size() &&
         name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
}

// Feeds a signature's inputs by the tensor names it gives them, fetches all its outputs.
absl::Status Ask(const SavedModelBundle& bundle, const std::string& name, const Named& inputs,
                 Named* outputs) {
  const auto found = bundle.meta_graph_def.signature_def().find(name);
  if (found == bundle.meta_graph_def.signature_def().end()) {
    return absl::NotFoundError("No signature " + name);
  }
  const SignatureDef& signature = found->second;
  std::vector<std::pair<std::string, Tensor>> feeds;
  for (const auto& [input, info] : signature.inputs()) {
    const auto given = inputs.find(input);
    const auto fallback = signature.defaults().find(input);
    Tensor value;
    if (given != inputs.end()) {
      value = given->second;
    } else if (fallback == signature.defaults().end() || !value.FromProto(fallback->second)) {
      return absl::InvalidArgumentError("No value for input " + input);
    }
    feeds.emplace_back(info.name(), value);
  }
  std::vector<std::string> names;
  std::vector<std::string> fetches;
  for (const auto& [output, info] : signature.outputs()) {
    names.push_back(output);
    fetches.push_back(info.name());
  }
  std::vector<Tensor> values;
  const absl::Status status = bundle.session->Run(feeds, fetches, {}, &values);
  if (!status.ok()) return status;
  for (size_t i = 0; i < names.size(); ++i) (*outputs)[names[i]] = values[i];
  return status;
}

// Asks a signature, prints the answer or the error, and returns the answer.
Named AskAndPrint(const SavedModelBundle& bundle, const std::string& name, const Named& inputs) {
  Named outputs;
  const absl::Status status = Ask(bundle, name, inputs, &outputs);
  std::string json = "{\"signature\": " + Quoted(name);
  if (!status.ok()) {
    json += ", \"error\": {\"code\": " + Quoted(absl::StatusCodeToString(status.code())) +
            ", \"message\": " + Quoted(std::string(status.message())) + "}";
  } else {
    json += ", \"outputs\": {";
    const char* separator = "";
    for (const auto& [output, tensor] : outputs) {
      int64_t next = 0;
      json += separator + Quoted(output) + ": " + Json(tensor, EndsWithBytes(output), 0, &next);
      separator = ", ";
    }
    json += "}";
  }
  std::printf("%s}\n", json.c_str());
  return outputs;
}

void AskAll(const SavedModelBundle& bundle, const std::vector<std::string>& texts) {
  const Named request = {{"text", Strings(texts)}};
  for (const char* name : {"serving_default", "generate", "score", "next_token"}) {
    AskAndPrint(bundle, name, request);
  }
  AskAndPrint(bundle, "detokenize", AskAndPrint(bundle, "tokenize", request));
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int Benchmark(const SavedModelBundle& bundle, double load_seconds, int batch, int new_tokens,
              int runs) {
  const Named request = {{"text", Strings(std::vector<std::string>(batch, "Once upon a time"))},
                         {"max_new_tokens", Integers(batch, new_tokens)}};
  double first_answer_seconds = 0;
  int64_t tokens = 0;
  auto start = std::chrono::steady_clock::now();
  for (int run = -1; run < runs; ++run) {  // the first one warms up
    Named outputs;
    const absl::Status status = Ask(bundle, "generate", request, &outputs);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
    if (run < 0) {
      first_answer_seconds = SecondsSince(start);
      start = std::chrono::steady_clock::now();
      continue;
    }
    for (int i = 0; i < batch; ++i) tokens += Values<int32_t>(outputs["num_tokens"])[i];
  }
  const double seconds = SecondsSince(start);
  std::printf(
      "{\"batch_size\": %d, \"new_tokens\": %d, \"runs\": %d, \"load_seconds\": %.4f, "
      "\"first_answer_seconds\": %.4f, \"requests_per_second\": %.3f, "
      "\"tokens_per_second\": %.3f}\n",
      batch, new_tokens, runs, load_seconds, first_answer_seconds, runs / seconds,
      static_cast<double>(tokens) / seconds);
  return 0;
}

int Usage() {
  std::fprintf(stderr,
               "usage: smoke VERSION_DIRECTORY [--bad] TEXT...\n"
               "       smoke VERSION_DIRECTORY --benchmark BATCH NEW_TOKENS RUNS\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() < 2) return Usage();
  const bool benchmark = arguments[1] == "--benchmark";
  const bool bad = arguments[1] == "--bad";
  const std::vector<std::string> rest(arguments.begin() + (benchmark || bad ? 2 : 1),
                                      arguments.end());
  std::vector<int> numbers;
  for (const std::string& word : rest) numbers.push_back(std::atoi(word.c_str()));
  if (rest.empty()) return Usage();
  if (benchmark && (numbers.size() != 3 || numbers[0] < 1 || numbers[1] < 1 || numbers[2] < 1)) {
    return Usage();
  }

  SavedModelBundle bundle;
  const auto start = std::chrono::steady_clock::now();
  const absl::Status status = tensorflow::LoadSavedModel(
      {}, {}, arguments[0], {"serve"}, &bundle);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  const double load_seconds = SecondsSince(start);
  if (benchmark) return Benchmark(bundle, load_seconds, numbers[0], numbers[1], numbers[2]);
  if (bad) AskAll(bundle, {""});
  AskAll(bundle, rest);
  return 0;
}
