// Continues a text with a .tflite file. NOT RUN by this project's tests: it follows the
// documentation of org.tensorflow.lite.Interpreter (com.google.ai.edge.litert:litert:1.4.0).

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

class Gpt2(file: File, threads: Int = 2) : AutoCloseable {
    private val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(threads))

    /** Returns the prompt with its new text. Takes seconds: call it off the main thread. */
    fun generate(
        prompt: String,
        maxNewTokens: Int = 64,
        temperature: Float = 0f, // 0: the most likely token
        topK: Int = 0, // 0: all tokens
        seed: Int = 0,
    ): String {
        val inputs = mapOf<String, Any>(
            "text" to prompt.encodeToByteArray(), // uint8 (size,)
            "max_new_tokens" to intArrayOf(maxNewTokens),
            "temperature" to floatArrayOf(temperature),
            "top_k" to intArrayOf(topK),
            "seed" to intArrayOf(seed),
        )
        // GPT-2's longest token has 128 bytes; three stand for each that is no character.
        val room = 4 * prompt.length + 384 * (maxNewTokens + 1)
        val outputs = listOf("text", "text_bytes", "token_ids", "num_tokens", "finish_reason")
            .associateWith { ByteBuffer.allocateDirect(room).order(ByteOrder.nativeOrder()) }
        interpreter.runSignature(inputs, outputs, "generate")
        val size = interpreter.getOutputTensorFromSignature("text", "generate").numBytes()
        val bytes = ByteArray(size)
        outputs.getValue("text").apply { rewind() }.get(bytes)
        return bytes.decodeToString()
    }

    override fun close() = interpreter.close()
}
