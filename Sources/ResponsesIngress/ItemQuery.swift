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
    let page = try await ItemReader(list: list, newestFirst: newestFirst != isBackwards, from: from, to: to)
      .page(limit)
    return Self.list(isBackwards ? page.items.reversed() : page.items, hasMore: page.hasMore)
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

  /// Nothing is added to a page that holds so many bytes: images are shown whole, and a few of them are a page too.
  static let pageSize = 4 << 20

  /// At most so many items, fewer where they are large, but one wherever there is any; and whether there are more.
  func page(_ count: Int) async throws -> (items: [ShownItem], hasMore: Bool) {
    var page: [ShownItem] = []
    var size = 0
    // An entry may be several items: those of the cursors are read, and what is not wanted of them is left out.
    var low = (newestFirst ? to : from)?.place.before ?? .beginning
    var high = (newestFirst ? from : to)?.place.after ?? .end
    while true {
      let entries = try await list.entries(
        after: low, before: high, newestFirst: newestFirst, limit: max(count + 1, 20))
      guard let last = entries.last else { return (page, hasMore: false) }
      if newestFirst { high = last.place } else { low = last.place }
      for item in try await shown(entries) {
        guard page.count < count, size < Self.pageSize else { return (page, hasMore: true) }
        page.append(item)
        size += item.json.serialized.count
      }
    }
  }

  private func shown(
    _ entries: [(place: ListedConversation.Place, entry: ListedConversation.Entry)]
  ) async throws -> [ShownItem] {
    var items: [ShownItem] = []
    var told: [String] = []
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
      // One that waits is as it was added.
      if case .event = entry { told += own.map(\.id) }
    }
    let hidden = try await list.hidden(items.map(\.id))
    let added = try await list.added(told)
    return items.filter { !hidden.contains($0.id) }.map { ShownItem(id: $0.id, json: added[$0.id] ?? $0.json) }
  }
}
