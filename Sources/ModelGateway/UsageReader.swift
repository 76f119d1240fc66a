import NIOCore
import SessionModel

/// Reads what a call has cost out of the answer that passes by, piece by piece, holding nothing of it back.
///
/// `/v1/responses`: `usage` of `response.completed` (or `.incomplete`, `.failed`). `/v1/messages`: `usage` of `message_start`,
/// then the running counts of `message_delta`; cached input is counted beside `input_tokens` there. One JSON body: its
/// `usage`. `count_tokens` costs nothing.
struct UsageReader {
  private enum Form { case events, body, other }

  private let form: Form
  private var line: [UInt8] = []
  private var isTooLong = false
  private(set) var usage: Usage?
  /// The event that ends an answer has passed: some harnesses close without waiting for the stream's own end.
  private(set) var isComplete = false
  /// How many events the answer had: about as many tokens.
  private(set) var events = 0

  /// Longer lines, and longer bodies, are not looked into.
  private static let longest = 64 << 20

  init(contentType: String?) {
    let type = contentType?.prefix { $0 != ";" }.lowercased() ?? ""
    form = type == "text/event-stream" ? .events : type == "application/json" ? .body : .other
  }

  mutating func feed(_ bytes: ByteBufferView) {
    switch form {
    case .other: break
    case .body: append(bytes)
    case .events:
      var rest = bytes
      while let end = rest.firstIndex(of: 0x0A) {
        append(rest[..<end])
        endLine()
        rest = rest[(end + 1)...]
      }
      append(rest)
    }
  }

  /// The answer has ended.
  mutating func finish() {
    guard form == .body, !isTooLong, let value = try? JSONValue(parsing: line) else { return }
    read(value["usage"])
  }

  private mutating func append(_ bytes: ByteBufferView) {
    guard !isTooLong, !bytes.isEmpty else { return }
    if line.count + bytes.count > Self.longest {
      isTooLong = true
      line = []
    } else {
      line.append(contentsOf: bytes)
    }
  }

  private static let dataPrefix = Array("data:".utf8)
  private static let usageMark = Array("\"usage\"".utf8)
  private static let stopMark = Array("\"message_stop\"".utf8)

  private mutating func endLine() {
    defer {
      line.removeAll(keepingCapacity: line.capacity < 1 << 20)
      isTooLong = false
    }
    guard line.starts(with: Self.dataPrefix) else { return }
    events += 1
    guard Self.holds(Self.usageMark, line) || Self.holds(Self.stopMark, line),
      let value = try? JSONValue(parsing: line.dropFirst(Self.dataPrefix.count))
    else { return }
    switch value["type"]?.string {
    case "message_start": read(value["message"]?["usage"])
    case "message_delta": read(value["usage"])
    case "message_stop": isComplete = true
    case "response.completed", "response.incomplete", "response.failed":
      isComplete = true
      read(value["response"]?["usage"])
    default: break
    }
  }

  private static func holds(_ mark: [UInt8], _ line: [UInt8]) -> Bool {
    guard line.count >= mark.count else { return false }
    return line.withUnsafeBytes { line in
      mark.withUnsafeBytes { mark in
        var from = 0
        while let quote = line[from...].firstIndex(of: UInt8(ascii: "\"")), quote + mark.count <= line.count {
          if line[quote..<quote + mark.count].elementsEqual(mark) { return true }
          from = quote + 1
        }
        return false
      }
    }
  }

  private mutating func read(_ value: JSONValue?) {
    guard let value, case .object = value else { return }
    let known = usage ?? Usage()
    let cached = Usage.bounded(value["cache_read_input_tokens"]?.int ?? 0)
    let written = Usage.bounded(value["cache_creation_input_tokens"]?.int ?? 0)
    let input = value["input_tokens"]?.int.map(Usage.bounded)
    let details = value["input_tokens_details"]
    usage = Usage(
      input: input.map { $0 + cached + written } ?? known.input,
      cachedInput: input == nil ? known.cachedInput : details?["cached_tokens"]?.int ?? cached,
      cacheWrite: input == nil ? known.cacheWrite : details?["cache_write_tokens"]?.int ?? written,
      output: value["output_tokens"]?.int ?? known.output,
      reasoning: max(known.reasoning, value["output_tokens_details"]?["reasoning_tokens"]?.int ?? 0))
  }
}
