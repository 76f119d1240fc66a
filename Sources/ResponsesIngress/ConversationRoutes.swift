import ControlPlane
import HTTPTypes
import Hummingbird
import Ingress
import SessionModel

/// `/v1/conversations`: sessions under names that this server gives, with what their clients note about them.
///
/// Each is a session of its own, which begins with the first response in it (`conversation` of `POST /v1/responses`).
struct ConversationRoutes: Sendable {
  let controlPlane: ControlPlane
  let ids: IdentifierSource
  let bodyLimit: Int

  func add(to router: Router<EdgeRequestContext>) {
    router.post("/v1/conversations") { request, context in
      await ResponsesError.answering(context) { try await create(request, context.owner) }
    }
    let conversation = router.group("/v1/conversations/:conversation_id")
    conversation.get { _, context in
      await answer(context) { id in try await show(id, context.owner) }
    }
    conversation.post { request, context in
      await answer(context) { id in try await update(id, request, context.owner) }
    }
    conversation.delete { _, context in
      await answer(context) { id in
        try await controlPlane.forgetConversation(id, owner: context.owner)
        return .json(["id": .string(id), "object": "conversation.deleted", "deleted": true])
      }
    }
    let items = conversation.group("/items")
    items.get { request, context in
      await answer(context) { id in
        let query = try ItemQuery(request.uri.queryParameters)
        return .json(try await query.page(of: controlPlane.items(ofConversation: id, owner: context.owner)))
      }
    }
    items.post { request, context in
      await answer(context) { id in try await addItems(to: id, request, context.owner) }
    }
    items.get("/:item_id") { _, context in
      await answer(context) { id in
        .json(try await item(context.parameters.get("item_id") ?? "", of: id, context.owner).json)
      }
    }
    items.delete("/:item_id") { _, context in
      await answer(context) { id in
        let item = try await item(context.parameters.get("item_id") ?? "", of: id, context.owner)
        try await controlPlane.hideItem(item.id, ofConversation: id, owner: context.owner)
        return try await show(id, context.owner)
      }
    }
  }

  private func answer(
    _ context: EdgeRequestContext, _ body: (_ id: String) async throws -> Response
  ) async -> Response {
    await ResponsesError.answering(context) { try await body(context.parameters.get("conversation_id") ?? "") }
  }

  private func body(_ request: Request) async throws -> ConversationBody {
    try ConversationBody(try await JSONBody.read(request, limit: bodyLimit))
  }

  private static func shown(_ conversation: ConversationRecord) -> JSONValue {
    [
      "id": .string(conversation.id), "object": "conversation", "created_at": .int(conversation.createdAt.seconds),
      "metadata": conversation.metadata,
    ]
  }

  private func show(_ id: String, _ owner: Owner) async throws -> Response {
    .json(Self.shown(try await controlPlane.conversation(owner: owner, id: id)))
  }

  private func create(_ request: Request, _ owner: Owner) async throws -> Response {
    let body = try await body(request)
    let metadata = try body.metadata()
    let items = body.hasItems ? try body.items(ids) : []
    let made = try await controlPlane.openConversation(owner: owner, metadata: metadata, items: items)
    return .json(Self.shown(made))
  }

  private func update(_ id: String, _ request: Request, _ owner: Owner) async throws -> Response {
    let body = try await body(request)
    guard body.hasMetadata else {
      throw CentaurError(.missingField, "The request needs 'metadata'.", parameter: "metadata")
    }
    try await controlPlane.setMetadata(body.metadata(), ofConversation: id, owner: owner)
    return try await show(id, owner)
  }

  // MARK: Items

  private func addItems(to id: String, _ request: Request, _ owner: Owner) async throws -> Response {
    let items = try await body(request).items(ids)
    try await controlPlane.add(items, toConversation: id, owner: owner)
    return .json(ItemQuery.list(items.map { ShownItem(id: $0.id, json: $0.shown) }, hasMore: false))
  }

  /// - Throws: `CentaurError` with `conversationNotFound`, `itemNotFound`
  private func item(_ id: String, of conversation: String, _ owner: Owner) async throws -> ShownItem {
    let list = try await controlPlane.items(ofConversation: conversation, owner: owner)
    guard let place = try await list.place(of: id) else { throw Self.unknownItem(id) }
    // The reader leaves the cursor's own item out, and this is that item.
    let entries = try await list.entries(after: place.before, before: place.after, newestFirst: false, limit: 1)
    guard let item = entries.flatMap({ ShownItem.items(of: $0.entry) }).first(where: { $0.id == id }),
      try await list.hidden([id]).isEmpty
    else { throw Self.unknownItem(id) }
    return ShownItem(id: id, json: try await list.added([id])[id] ?? item.json)
  }

  private static func unknownItem(_ id: String) -> CentaurError {
    CentaurError(.itemNotFound, "There is no item with the id '\(id.prefix(128))'.", parameter: "item_id")
  }
}
