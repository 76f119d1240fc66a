import ControlPlane
import Hummingbird
import SessionModel

/// The query of a list of items, and the page that it asks for (OpenAI's cursors: `limit`, `order`, `after`, `before`).
///
/// A page costs what it shows, not what the session holds.
struct ItemQuery: Sendable {
  let limit: Int
  let newestFirst: Bool
  let after: String?
  let before: String?

  /// - Throws: `CentaurError` with `invalidValue`
  init(_ parameters: Parameters) throws(CentaurError) {
    let limit = parameters.get("limit") ?? "20"
    guard let number = Int(limit), (1...100).contains(number) else {
      throw CentaurError(.invalidValue, "'limit' must be a whole number from 1 to 100.", parameter: "limit")
    }
    self.limit = number
    switch parameters.get("order") {
    case nil, "desc": newestFirst = true
    case "asc": newestFirst = false
    default: throw CentaurError(.invalidValue, "'order' is one of asc, desc.", parameter: "order")
    }
    after = parameters.get("after")
    before = parameters.get("before")
  }

  /// - Throws: `CentaurError` with `invalidValue` where a cursor is no item of the list
  func page(of list: ListedConversation) async throws -> JSONValue {
    // The page before an item is the one behind it in the other order.
    let isBackwards = before != nil && after == nil
    let from = try await cursor(isBackwards ? before : after, isBackwards ? "before" : "after", in: list)
    let to = try await cursor(isBackwards ? nil : before, "before", in: list)
    var items = try await ItemReader(list: list, newestFirst: newestFirst != isBackwards, from: from, to: to)
      .items(limit + 1)
    let hasMore = items.count > limit
    if hasMore { items.removeLast() }
    if isBackwards { items.reverse() }
    return Self.list(items, hasMore: hasMore)
  }

  static func list(_ items: [ShownItem], hasMore: Bool) -> JSONValue {
    [
      "object": "list", "data": .array(items.map(\.json)), "first_id": JSONValue(items.first?.id),
      "last_id": JSONValue(items.last?.id), "has_more": .bool(hasMore),
    ]
  }

  private func cursor(_ id: String?, _ name: String, in list: ListedConversation) async throws -> ItemReader.Cursor? {
    guard let id else { return nil }
    guard let place = try await list.place(of: id) else {
      throw CentaurError(.invalidValue, "'\(name)' is not an item of this list.", parameter: name)
    }
    return ItemReader.Cursor(id: id, place: place)
  }
}

/// Reads items of a list from one place on, in one direction.
struct ItemReader {
  struct Cursor: Sendable {
    var id: String
    var place: ListedConversation.Place
  }

  let list: ListedConversation
  let newestFirst: Bool
  /// The last one that the client has.
  var from: Cursor?
  /// The first one that it does not want.
  var to: Cursor?

  /// At most so many items.
  func items(_ count: Int) async throws -> [ShownItem] {
    var found: [ShownItem] = []
    // An entry may be several items: those of the cursors are read, and what is not wanted of them is left out.
    var low = (newestFirst ? to : from)?.place.before ?? .beginning
    var high = (newestFirst ? from : to)?.place.after ?? .end
    while found.count < count {
      let entries = try await list.entries(after: low, before: high, newestFirst: newestFirst, limit: max(count, 20))
      guard let last = entries.last else { break }
      if newestFirst { high = last.place } else { low = last.place }
      found += try await shown(entries)
    }
    return Array(found.prefix(count))
  }

  private func shown(
    _ entries: [(place: ListedConversation.Place, entry: ListedConversation.Entry)]
  ) async throws -> [ShownItem] {
    var items: [ShownItem] = []
    for (place, entry) in entries {
      var own = ShownItem.items(of: entry)
      if newestFirst { own.reverse() }
      if let from, from.place == place, let index = own.firstIndex(where: { $0.id == from.id }) {
        own.removeFirst(index + 1)
      }
      if let to, to.place == place, let index = own.firstIndex(where: { $0.id == to.id }) {
        own.removeLast(own.count - index)
      }
      items += own
    }
    let ids = items.map(\.id)
    let hidden = try await list.hidden(ids)
    let added = try await list.added(ids)
    return items.filter { !hidden.contains($0.id) }.map { ShownItem(id: $0.id, json: added[$0.id] ?? $0.json) }
  }
}
