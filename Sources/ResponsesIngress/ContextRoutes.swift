import ControlPlane
import Hummingbird
import Ingress
import SessionModel

/// What a client asks about the context that it sends: `POST /v1/responses/compact`, to hold less of it, and
/// `POST /v1/responses/input_tokens`, to know how large it is. Neither begins a turn.
struct ContextRoutes: Sendable {
  let controlPlane: ControlPlane
  let clock: WallClock
  let ids: IdentifierSource
  let bodyLimit: Int

  func add(to router: Router<EdgeRequestContext>) {
    router.post("/v1/responses/compact") { request, context in
      await ResponsesError.answering(context) { try await compact(body(request), context.owner) }
    }
    router.post("/v1/responses/input_tokens") { request, context in
      await ResponsesError.answering(context) { try await count(body(request), context.owner) }
    }
  }

  /// The fields of both are those of a request for a response, and so is what they must be: what cannot be given to an
  /// agent is refused now, not when the conversation goes on.
  private func body(_ request: Request) async throws -> JSONValue {
    guard let body = try await JSONBody.read(request, limit: bodyLimit) else {
      throw CentaurError(.invalidJSON, "The body is empty.")
    }
    guard body.object != nil else {
      throw CentaurError(.invalidType, "The body must be an object, not \(body.kindDescription).")
    }
    try RequestFields.check(body)
    return body
  }

  private func items(_ body: JSONValue, _ owner: Owner) async throws -> [JSONValue] {
    guard let input = body["input"], !input.isNull else { return [] }
    return try await ItemReferences(controlPlane: controlPlane, owner: owner).resolved(ResponsesRequest.items(input))
  }

  // MARK: Compaction

  /// The user's messages of the input as they are, and one item for all that was said (Open Responses 2026-04-24,
  /// `CompactResource`). No model is asked, and nothing is lost.
  private func compact(_ body: JSONValue, _ owner: Owner) async throws -> Response {
    let items = try await items(body, owner)
    let previous = body["previous_response_id"]?.string
    guard previous != nil || !items.isEmpty else {
      throw CentaurError(
        .missingField, "The request needs 'input' or 'previous_response_id'.", parameter: "input")
    }
    let earlier = CompactionItem.index(in: items)
    let start: ControlPlane.CompactionStart =
      if let previous { .response(previous) } else if let earlier {
        .compacted(
          try CompactionItem.name(items[earlier], path: "input[\(earlier)]"),
          parameter: "input[\(earlier)].encrypted_content")
      } else { .nothing }
    let said = InputItem.history(items[(earlier.map { $0 + 1 } ?? 0)...])
    let compacted = try await controlPlane.compact(said, behind: start, owner: owner)
    let kept = try items.enumerated().filter { InputItem.isMessage($0.element, ["user"]) }.map { index, item in
      try ShownItem.said(item, "input[\(index)]", id: "msg_\(ids.thread())").shown.json
    }
    return .json([
      "id": .string("resp_compacted_\(ids.thread())"), "object": "response.compaction",
      "created_at": .int(clock.now.seconds),
      "output": .array(kept + [CompactionItem.json(id: "cmp_\(ids.thread())", name: compacted.id)]),
      "usage": ResponseObject.usage(TurnUsage()),
    ])
  }

  // MARK: Tokens

  private func count(_ body: JSONValue, _ owner: Owner) async throws -> Response {
    let items = try await items(body, owner)
    let context = try await controlPlane.contextTokens(
      owner: owner, replyID: body["previous_response_id"]?.string,
      conversation: ResponsesRequest.conversationID(body))
    let own = items.reduce(0) { $0 + 4 + Self.tokens($1) }
    let instructions = TokenEstimate.text(body["instructions"]?.string ?? "")
    let tools = TokenEstimate.text((body["tools"]?.array ?? []).map(\.text).joined())
    return .json([
      "object": "response.input_tokens", "input_tokens": JSONValue(context + own + instructions + tools),
    ])
  }

  private static func tokens(_ item: JSONValue) -> Int {
    guard let content = item["content"] else { return TokenEstimate.text(item.text) }
    guard let parts = content.array else { return TokenEstimate.text(content.string ?? "") }
    return parts.reduce(0) { sum, part in
      switch part["type"]?.string {
      case "input_image": sum + TokenEstimate.image
      case "input_file": sum + TokenEstimate.document(base64: part["file_data"]?.string?.utf8.count ?? 0)
      default: sum + TokenEstimate.text(part["text"]?.string ?? "")
      }
    }
  }
}
