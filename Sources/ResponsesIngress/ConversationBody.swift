import ControlPlane
import SessionModel

/// The body of a request to `/v1/conversations`; none is as an empty one.
struct ConversationBody {
  private let body: JSONValue

  /// Items that may come in one request, as OpenAI's documentation says.
  private static let mostItems = 20

  /// - Throws: `CentaurError` with `invalidType`
  init(_ body: JSONValue?) throws(CentaurError) {
    self.body = body ?? .object(JSONObject())
    guard self.body.object != nil else {
      throw CentaurError(.invalidType, "The body must be an object, not \(self.body.kindDescription).")
    }
  }

  var hasMetadata: Bool { body["metadata"] != nil }
  var hasItems: Bool { body["items"].map { !$0.isNull } ?? false }

  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`
  func metadata() throws(CentaurError) -> JSONValue { try RequestFields.metadata(in: body) }

  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`, `missingField`, `unsupported`
  func items(_ ids: IdentifierSource) throws(CentaurError) -> [AddedItem] {
    guard let items = body["items"]?.array else {
      throw CentaurError(.invalidType, "'items' must be an array.", parameter: "items")
    }
    guard items.count <= Self.mostItems else {
      throw CentaurError(
        .invalidValue, "At most \(Self.mostItems) items may be added at once, not \(items.count).", parameter: "items")
    }
    var added: [AddedItem] = []
    for (index, item) in items.enumerated() {
      try InputFields.check(item, path: "items[\(index)]")
      added.append(try ShownItem.added(item, path: "items[\(index)]", name: ids.thread()))
    }
    return added
  }
}
