import HTTPTypes
import Ingress
import NIOCore
import SessionModel

/// What a client sends on a WebSocket, read as far as it says what is wanted and on which stream.
struct SocketMessage {
  enum Kind {
    /// `response.create`
    case create
    /// `response.steer`, which is answered and not done.
    case steer
  }

  let kind: Kind
  let body: JSONValue
  /// The stream (`stream_id`) that it belongs to; nil: the one without a name.
  let lane: String?
  /// In bytes.
  let size: Int

  /// - Throws: `Refused`, which names the stream where there is one to name
  init(_ message: ByteBuffer) throws(Refused) {
    size = message.readableBytes
    do {
      body = try JSONValue(parsing: message.readableBytesView)
    } catch {
      throw Refused(CentaurError(.invalidJSON, "The message is not JSON: \(error)."))
    }
    guard case .object = body else {
      throw Refused(CentaurError(.invalidType, "A message must be an object, not \(body.kindDescription)."))
    }
    do {
      lane = try Self.lane(body["stream_id"])
    } catch { throw Refused(error) }
    switch body["type"] {
    case .string("response.create")?: kind = .create
    case .string("response.steer")?: kind = .steer
    case .string(let other)?:
      throw Refused(
        CentaurError(
          .invalidValue, "There is no client event '\(other.prefix(64))'; there is 'response.create'.",
          parameter: "type"), lane: lane)
    case nil, .null?:
      throw Refused(CentaurError(.missingField, "A message needs a 'type'.", parameter: "type"), lane: lane)
    case let other?:
      throw Refused(
        CentaurError(.invalidType, "'type' must be a string, not \(other.kindDescription).", parameter: "type"),
        lane: lane)
    }
  }

  struct Refused: Error {
    let error: CentaurError
    let lane: String?

    init(_ error: CentaurError, lane: String? = nil) {
      self.error = error
      self.lane = lane
    }
  }

  /// As OpenAI's SDK checks it (openai 3.57.0, `lib/responses_websocket`).
  private static func lane(_ value: JSONValue?) throws(CentaurError) -> String? {
    guard let value, !value.isNull else { return nil }
    guard let name = value.string, (1...256).contains(name.utf8.count), name.utf8.allSatisfy(isAllowed) else {
      throw CentaurError(
        .invalidStreamID, "'stream_id' is 1 to 256 letters, digits, '_', '.' and '-'.", parameter: "stream_id")
    }
    return name
  }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
      true
    default: false
    }
  }

  /// What a `response.steer` is answered with: the agent's turns take no input between two steps by this way.
  var steerFailed: JSONValue {
    var event = JSONObject()
    event.append("type", "response.steer.failed")
    event.append("sequence_number", 0)
    event.append(
      "error",
      [
        "type": "invalid_request_error", "code": "steering_not_supported",
        "message": "Responses of this server are not steered. Send another response.create.",
      ])
    event.append(
      "steer",
      ["previous_response_id": body["previous_response_id"] ?? .null, "input": body["input"] ?? .null])
    return .object(event)
  }
}

extension Result where Success == SocketMessage, Failure == SocketMessage.Refused {
  /// The stream of a message that was read or refused.
  var lane: String? {
    switch self {
    case .success(let message): message.lane
    case .failure(let refused): refused.lane
    }
  }
}

extension ResponsesError {
  /// A WebSocket's error message (Open Responses 2026-04-24, `WebSocketErrorEvent`). Codex reads `headers` beside
  /// `error` (wire/codex-client/ws_prevnf.json), OpenAI's SDK within.
  /// - Parameter status: another one than the error's own
  static func message(
    _ error: CentaurError, _ status: HTTPResponse.Status? = nil, stream: String? = nil
  ) -> ByteBuffer {
    // OpenAI's own, by which Codex tells its conversation anew.
    let status = error.code == .previousResponseNotFound ? 400 : (status ?? error.status).code
    var event = JSONObject()
    event.append("type", "error")
    event.append("status", JSONValue(status))
    var members = body(error)["error"]?.object ?? JSONObject()
    if let after = error.retryHeaders[.retryAfter] {
      let headers: JSONValue = ["retry-after": .string(after)]
      members.append("headers", headers)
      event.append("error", .object(members))
      event.append("headers", headers)
    } else {
      event.append("error", .object(members))
    }
    if let stream { event.append("stream_id", .string(stream)) }
    return ByteBuffer(bytes: JSONValue.object(event).serialized)
  }
}
