// Continues a text with a .tflite file. NOT RUN by this project's tests: it follows the
// sources of TensorFlowLiteSwift (SignatureRunner.swift).

import Foundation
import TensorFlowLite

final class Gpt2 {
  private let interpreter: Interpreter

  init(path: String, threads: Int = 2) throws {
    var options = Interpreter.Options()
    options.threadCount = threads
    interpreter = try Interpreter(modelPath: path, options: options)
  }

  /// Returns the prompt with its new text. Takes seconds: call it off the main thread.
  func generate(
    _ prompt: String,
    maxNewTokens: Int32 = 64,
    temperature: Float32 = 0,  // 0: the most likely token
    topK: Int32 = 0,  // 0: all tokens
    seed: Int32 = 0
  ) throws -> String {
    let runner = try interpreter.signatureRunner(with: "generate")
    let text = Data(prompt.utf8)  // uint8 (size,)
    try runner.resizeInput(named: "text", toShape: Tensor.Shape([text.count]))
    try runner.invoke(with: [
      "text": text,
      "max_new_tokens": data(of: maxNewTokens),
      "temperature": data(of: temperature),
      "top_k": data(of: topK),
      "seed": data(of: seed),
    ])
    return String(decoding: try runner.output(named: "text").data, as: UTF8.self)
  }

  private func data<Number>(of number: Number) -> Data {
    withUnsafeBytes(of: number) { Data($0) }
  }
}
