import SessionModel

/// How many tokens a request is, estimated: no tokenizer is public, and clients only want to know about how much fits.
///
/// Four bytes of ASCII or one other character a token, as the providers' own rules of thumb say; 1,600 for an image,
/// which is what the largest costs; 2,000 for 50 kB of a PDF.
enum TokenEstimate {
  static func tokens(of body: JSONValue) -> Int {
    let messages = (body["messages"]?.array ?? []).reduce(0) { $0 + 4 + content($1["content"]) }
    return max(1, messages + content(body["system"]) + text((body["tools"]?.array ?? []).map(\.text).joined()))
  }

  private static func content(_ content: JSONValue?) -> Int {
    switch content {
    case .string(let string)?: text(string)
    case .array(let blocks)?: blocks.reduce(0) { $0 + block($1) }
    default: 0
    }
  }

  private static func block(_ block: JSONValue) -> Int {
    switch block["type"]?.string {
    case "text": return text(block["text"]?.string ?? "")
    case "image": return 1600
    case "document":
      guard block["source"]?["type"]?.string == "base64" else { return text((block["source"] ?? .null).text) }
      let bytes = (block["source"]?["data"]?.string?.utf8.count ?? 0) * 3 / 4
      return max(2000, bytes / 25)
    case "thinking": return text(block["thinking"]?.string ?? "")
    case "tool_result": return content(block["content"])
    default: return text(block.text)
    }
  }

  private static func text(_ text: String) -> Int {
    var ascii = 0
    var others = 0
    for scalar in text.unicodeScalars { if scalar.isASCII { ascii += 1 } else { others += 1 } }
    return (ascii + 3) / 4 + others
  }
}
