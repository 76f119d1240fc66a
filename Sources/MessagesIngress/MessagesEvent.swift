import Ingress
import NIOCore
import SessionModel

/// One event of a message's stream. Claude Code needs the `event:` line; there is no `[DONE]`.
struct MessagesEvent: WireEvent, Hashable {
  let data: JSONValue

  init(_ type: String, _ members: [(String, JSONValue)] = []) {
    var object = JSONObject()
    object.append("type", .string(type))
    for (key, value) in members { object.append(key, value) }
    data = .object(object)
  }

  var type: String { data["type"]?.string ?? "" }

  var frame: ByteBuffer { EventStream.frame(event: type, data: data.serialized) }

  static let ping = MessagesEvent("ping")
}
