import Ingress
import Hummingbird
import SessionModel

/// The body of a session API request: a JSON object, or nothing.
struct SessionAPIBody {
  private let object: JSONObject

  /// - Throws: `CentaurError` with `bodyTooLarge`, `invalidJSON`, `invalidType`
  init(_ request: Request, limit: Int) async throws {
    try self.init(try await JSONBody.read(request, limit: limit) ?? .object(JSONObject()))
  }

  /// - Throws: `CentaurError` with `invalidType`
  init(_ value: JSONValue) throws {
    guard case .object(let object) = value else {
      throw CentaurError(.invalidType, "The body must be an object, not \(value.kindDescription).")
    }
    self.object = object
  }

  /// - Throws: `CentaurError` with `invalidType`
  func string(_ key: String) throws -> String? {
    switch object[key] {
    case nil, .null: return nil
    case .string(let value): return value
    case let other?:
      throw CentaurError(.invalidType, "'\(key)' must be a string, not \(other.kindDescription).", parameter: key)
    }
  }

  var hasMessage: Bool { object["text"] != nil || object["parts"] != nil }

  /// The message that the body is: `{"text":…}` or `{"parts":[…]}`, with an `id` of the client's.
  /// - Throws: `CentaurError` with `emptyInput`, `invalidType`, `invalidValue`
  func message() throws -> Message {
    if let role = try string("role"), role != "user" {
      throw CentaurError(.invalidValue, "Only messages of the role 'user' can be added.", parameter: "role")
    }
    var parts: [Message.Part] = []
    if let text = try string("text"), !text.isEmpty { parts.append(.text(text)) }
    switch object["parts"] {
    case nil, .null: break
    case .array(let elements):
      for (index, element) in elements.enumerated() { parts.append(try part(element, "parts[\(index)]")) }
    case let other?:
      throw CentaurError(.invalidType, "'parts' must be an array, not \(other.kindDescription).", parameter: "parts")
    }
    guard !parts.isEmpty else { throw CentaurError(.emptyInput, "The message is empty.", parameter: "text") }
    return Message(parts: parts, clientID: try string("id"))
  }

  private func part(_ value: JSONValue, _ path: String) throws -> Message.Part {
    switch value["type"]?.string {
    case "text":
      guard let text = value["text"]?.string else {
        throw CentaurError(.missingField, "A text part needs 'text'.", parameter: "\(path).text")
      }
      return .text(text)
    case "image":
      return .image(dataURL: try dataURL(value, path, InlineContent.check(imageURL:)))
    case "file":
      return .file(name: value["name"]?.string, dataURL: try dataURL(value, path, InlineContent.check(dataURL:)))
    default:
      throw CentaurError(
        .invalidValue, "A part's 'type' is one of text, image, file.", parameter: "\(path).type")
    }
  }

  private func dataURL(
    _ value: JSONValue, _ path: String, _ check: (String) throws(InlineContent.Fault) -> Void
  ) throws -> String {
    guard let url = value["data_url"]?.string else {
      throw CentaurError(
        .invalidValue, "'data_url' must be a data: URL; addresses are not fetched.", parameter: "\(path).data_url")
    }
    do { try check(url) } catch {
      // An address has been an invalid value here from the beginning.
      throw CentaurError(.invalidValue, "'data_url' \(error.predicate).", parameter: "\(path).data_url")
    }
    return url
  }
}
