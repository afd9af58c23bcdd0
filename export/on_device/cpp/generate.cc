// Continues a text with a .tflite file of `gpt2-keras export --format litert`: bytes in, bytes out.
//
//   ./generate model.tflite "Once upon a time" --temperature 0.8 --top-k 40 --seed 1

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "tflite.h"

namespace {

// What C gives, deleted by C's own function.
template <typename T>
std::unique_ptr<T, void (*)(T*)> Own(T* made, void (*destroy)(T*), const std::string& what) {
  if (made == nullptr) throw std::runtime_error(what);
  return {made, destroy};
}

void Check(TfLiteStatus status, const std::string& what) {
  if (status != 0) throw std::runtime_error(what);
}

// A loaded file. Not for several threads at once: make one of these for each.
class TextModel {
 public:
  TextModel(const std::string& path, int num_threads)
      : model_(Own(TfLiteModelCreateFromFile(path.c_str()), TfLiteModelDelete,
                   "cannot read " + path)),
        interpreter_(Own(Interpreter(num_threads), TfLiteInterpreterDelete,
                         path + " holds an op that this library does not have")),
        generate_(Own(TfLiteInterpreterGetSignatureRunner(interpreter_.get(), "generate"),
                      TfLiteSignatureRunnerDelete, path + " has no signature \"generate\"")) {}

  // Returns the text with new text after it, in UTF-8. At a temperature of 0 each token is
  // the most likely one; a top_k of 0 samples from all.
  std::string Generate(const std::string& text, std::int32_t max_new_tokens, float temperature,
                       std::int32_t top_k, std::int32_t seed) {
    const int size = static_cast<int>(text.size());
    Check(TfLiteSignatureRunnerResizeInputTensor(generate_.get(), "text", &size, 1),
          "the text has no room");
    Check(TfLiteSignatureRunnerAllocateTensors(generate_.get()), "the memory is not enough");
    Set("text", text.data(), text.size());
    Set("max_new_tokens", &max_new_tokens, sizeof(max_new_tokens));
    Set("temperature", &temperature, sizeof(temperature));
    Set("top_k", &top_k, sizeof(top_k));
    Set("seed", &seed, sizeof(seed));
    Check(TfLiteSignatureRunnerInvoke(generate_.get()), "the model did not run");
    const TfLiteTensor* answer = TfLiteSignatureRunnerGetOutputTensor(generate_.get(), "text");
    return {static_cast<const char*>(TfLiteTensorData(answer)), TfLiteTensorByteSize(answer)};
  }

 private:
  TfLiteInterpreter* Interpreter(int num_threads) {
    auto options = Own(TfLiteInterpreterOptionsCreate(), TfLiteInterpreterOptionsDelete, "options");
    TfLiteInterpreterOptionsSetNumThreads(options.get(), num_threads);
    return TfLiteInterpreterCreate(model_.get(), options.get());
  }

  void Set(const char* name, const void* data, std::size_t num_bytes) {
    TfLiteTensor* tensor = TfLiteSignatureRunnerGetInputTensor(generate_.get(), name);
    Check(TfLiteTensorCopyFromBuffer(tensor, data, num_bytes), std::string("cannot set ") + name);
  }

  std::unique_ptr<TfLiteModel, void (*)(TfLiteModel*)> model_;
  std::unique_ptr<TfLiteInterpreter, void (*)(TfLiteInterpreter*)> interpreter_;
  std::unique_ptr<TfLiteSignatureRunner, void (*)(TfLiteSignatureRunner*)> generate_;
};

constexpr char kUsage[] =
    "usage: generate MODEL.tflite TEXT [--max-new-tokens N] [--temperature T] [--top-k K]"
    " [--seed N] [--threads N]\n";

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, double> options = {{"--max-new-tokens", 64},
                                           {"--temperature", 0},
                                           {"--top-k", 0},
                                           {"--seed", 0},
                                           {"--threads", 2}};
  if (argc < 3 || argc % 2 == 0) return std::fputs(kUsage, stderr), 2;
  for (int i = 3; i < argc; i += 2) {
    char* rest = nullptr;
    const double value = std::strtod(argv[i + 1], &rest);
    if (options.count(argv[i]) == 0 || rest == argv[i + 1] || *rest != '\0') {
      return std::fprintf(stderr, "%snot understood: %s %s\n", kUsage, argv[i], argv[i + 1]), 2;
    }
    options[argv[i]] = value;
  }
  const auto integer = [&](const char* name) { return static_cast<std::int32_t>(options[name]); };
  if (integer("--max-new-tokens") < 1 || integer("--threads") < 1 || integer("--top-k") < 0 ||
      !(options["--temperature"] >= 0)) {
    return std::fputs("generate: error: --max-new-tokens and --threads must be at least 1, "
                      "--top-k and --temperature at least 0\n", stderr), 2;
  }
  try {
    TextModel model(argv[1], integer("--threads"));
    const std::string text = model.Generate(
        argv[2], integer("--max-new-tokens"), static_cast<float>(options["--temperature"]),
        integer("--top-k"), integer("--seed"));
    std::printf("%s\n", text.c_str());
  } catch (const std::runtime_error& error) {
    return std::fprintf(stderr, "generate: error: %s\n", error.what()), 1;
  }
}
