import ControlPlane
import Ingress
import SessionModel

@testable import ResponsesIngress

/// A body of `/v1/conversations`, up to where the store would be asked.
enum ConversationsTarget {
  static func check(_ input: [UInt8]) throws {
    guard let value = try? JSONValue(parsing: input) else { return }
    do {
      let body = try ConversationBody(value)
      let metadata = try body.metadata()
      try require(metadata.object != nil, "metadata that is no object")
      guard body.hasItems else { return }
      let ids = IdentifierSource { 1 }
      try body.items(ids).forEach(check)
    } catch let error as CentaurError {
      try Kept.check(error, told: ResponsesError.body(error))
    }
  }

  /// It is listed under its own id while it waits, and as the same message once it was taken.
  private static func check(_ item: AddedItem) throws {
    try require(!Lines.breaks(Array(item.id.utf8)) && item.id.utf8.count < 100, "an id that is none")
    try require(item.shown["id"]?.string == item.id, "an item that is shown under another id")
    try require(
      ShownItem.items(of: .waiting(item)).map(\.json) == [item.shown], "an item that is listed as another")
    guard !item.message.parts.isEmpty else { return }
    var message = item.message
    message.clientID = item.id
    try Kept.check(.messageAppended(message))
    let event = SessionEvent(
      seq: 1, sessionID: SessionID(rawValue: "s"), executionID: nil, payload: .messageAppended(message),
      createdAt: Timestamp(milliseconds: 0), source: nil)
    try require(ShownItem.items(of: .event(event)).map(\.id) == [item.id], "an item that loses its id when it is taken")
  }
}
