import Foundation
import Ingress
import SessionModel

/// The `source` of an image or a document: its content is in the request.
enum InlineSource {
  /// The kinds of images that Anthropic's API takes.
  private static let imageTypes = ["image/jpeg", "image/png", "image/gif", "image/webp"]

  /// - Parameter path: the block's place in the body
  /// - Throws: `CentaurError` with `unsupported`, `missingField`, `invalidValue`
  static func image(_ block: JSONValue, path: String) throws(CentaurError) -> Message.Part {
    .image(
      dataURL: try url(block, path) { media in
        imageTypes.contains(media) ? nil : "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
      })
  }

  /// - Parameter path: the block's place in the body
  /// - Throws: `CentaurError` with `unsupported`, `missingField`, `invalidValue`
  static func document(_ block: JSONValue, path: String) throws(CentaurError) -> Message.Part {
    let name = block["title"]?.string
    let source = block["source"] ?? .null
    switch source["type"]?.string {
    case "text":
      let media = source["media_type"]?.string ?? "text/plain"
      if let fault = documentFault(media) { throw refusal(fault, "media_type", block, path) }
      let data = Data((source["data"]?.string ?? "").utf8).base64EncodedString()
      return .file(name: name, dataURL: "data:\(media);base64,\(data)")
    case "content": return .text(ContentBlock.allText(source["content"]))
    default: return .file(name: name, dataURL: try url(block, path, fault: documentFault))
    }
  }

  private static func documentFault(_ media: String) -> String? {
    InlineContent.isMediaType(media) ? nil : "Input should be a media type such as 'application/pdf'"
  }

  private static func url(
    _ block: JSONValue, _ path: String, fault: (_ media: String) -> String?
  ) throws(CentaurError) -> String {
    let source = block["source"] ?? .null
    guard source["type"]?.string == "base64" else {
      throw CentaurError(
        .unsupported, "Only content of the source type 'base64' is taken; addresses and uploads are never fetched.",
        parameter: "\(path).source")
    }
    guard let media = source["media_type"]?.string, let data = source["data"]?.string else {
      throw CentaurError(.missingField, "A base64 source needs 'media_type' and 'data'.", parameter: "\(path).source")
    }
    if let fault = fault(media) { throw refusal(fault, "media_type", block, path) }
    do { try InlineContent.check(base64: data) } catch {
      throw refusal("The content \(error.predicate)", "data", block, path)
    }
    return "data:\(media);base64,\(data)"
  }

  /// Said as Anthropic's API says it: behind the field's path in its own form, in which its clients look for it
  /// (`messages.0.content.1.image.source.base64.data: …`; a tool's result has its content in `….tool_result.content.0`).
  private static func refusal(_ fault: String, _ field: String, _ block: JSONValue, _ path: String) -> CentaurError {
    let steps = path.replacing("[", with: ".").replacing("]", with: "").components(separatedBy: ".content.")
    let place = "\(steps[0]).content.\(steps.dropFirst().joined(separator: ".tool_result.content."))"
    let kinds = (block: block["type"]?.string ?? "", source: block["source"]?["type"]?.string ?? "")
    return CentaurError(
      .invalidValue, "\(place).\(kinds.block).source.\(kinds.source).\(field): \(fault)",
      parameter: "\(path).source.\(field)")
  }
}
