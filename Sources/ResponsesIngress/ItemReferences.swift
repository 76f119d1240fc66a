import ControlPlane
import Ingress
import SessionModel

/// Items of a program's input that are given by their ids alone (`item_reference`), replaced by what they stand for: from
/// there on the input is what it would be had its client sent them whole.
struct ItemReferences {
  let controlPlane: ControlPlane
  /// Whose responses had them.
  let owner: Owner

  /// In one request: each costs a look at its turn.
  static let most = 256

  /// - Throws: `CentaurError` with `itemNotFound`, alike for what is nobody's and what is another owner's; `invalidValue`
  func resolved(_ input: [JSONValue]) async throws -> [JSONValue] {
    let references = input.indices.filter { InputItem.isReference(input[$0]) }
    guard !references.isEmpty else { return input }
    guard references.count <= Self.most else {
      throw CentaurError(
        .invalidValue, "At most \(Self.most) items may be named by their ids, not \(references.count).",
        parameter: "input")
    }
    var resolved = input
    for index in references {
      // One without a proper id is refused with the rest of what is wrong.
      guard let id = input[index]["id"]?.string else { continue }
      guard let event = try await controlPlane.event(ofItem: id, owner: owner), let item = ShownItem.item(id, of: event)
      else {
        throw CentaurError(
          .itemNotFound, "Item with id '\(id.prefix(128))' not found.", parameter: "input[\(index)].id")
      }
      resolved[index] = item
    }
    return resolved
  }
}

extension ShownItem {
  /// What an id of ours stands for in an input; nil where the event has no such item.
  static func item(_ id: String, of event: SessionEvent) -> JSONValue? {
    if let own = items(of: .event(event)).first(where: { $0.id == id }) { return own.json }
    guard case .itemCompleted(let item) = event.payload, let end = id.firstIndex(of: "_") else { return nil }
    // Items that some clients are shown of the agent's work: they say that the client has them.
    switch id[..<end] {
    case "rs": return ["type": "reasoning", "id": .string(id), "summary": []]
    case "item": return ["type": .string("centaur:\(item.typeName)"), "id": .string(id)]
    case "msg":
      return WorkNarration.note(item).map { note in
        [
          "type": "message", "id": .string(id), "role": "assistant", "phase": "commentary",
          "content": [["type": "output_text", "text": .string(note)]],
        ]
      }
    default: return nil
    }
  }
}
