import Ingress
import SessionModel

/// How many tokens a request is, estimated.
enum MessagesTokens {
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
    case "image": return TokenEstimate.image
    case "document":
      guard block["source"]?["type"]?.string == "base64" else { return text((block["source"] ?? .null).text) }
      return TokenEstimate.document(base64: block["source"]?["data"]?.string?.utf8.count ?? 0)
    case "thinking": return text(block["thinking"]?.string ?? "")
    case "tool_result": return content(block["content"])
    default: return text(block.text)
    }
  }

  private static func text(_ text: String) -> Int { TokenEstimate.text(text) }
}
