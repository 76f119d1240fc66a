import SessionModel

/// The items of one turn as an adapter meets them: gives each its ordinal, and knows which are open.
///
/// Every adapter goes through this, so the log's rule holds for all of them: an item is started once, closed once, and
/// has deltas only between the two.
struct TurnItems: Sendable, Codable {
  let execution: ExecutionID
  private var nextOrdinal = 1
  /// By the harness's own id of the item; ids may be used again once the item is closed.
  private var open: [String: OpenItem] = [:]

  private struct OpenItem: Codable {
    var item: Item
    /// Kept apart and joined only if we must close the item: appending to the text each time would copy it each time.
    var deltas: [ItemDelta] = []
  }

  init(execution: ExecutionID) { self.execution = execution }

  var isEmpty: Bool { open.isEmpty }

  func isOpen(_ id: String) -> Bool { open[id] != nil }

  func hasOpen(where matches: (Item.Content) -> Bool) -> Bool { open.values.contains { matches($0.item.content) } }

  mutating func start(_ id: String, _ content: Item.Content) -> [HarnessAction] {
    var actions = open[id] == nil ? [] : close(id)
    let item = Item(ordinal: nextOrdinal, status: .inProgress, content: content)
    nextOrdinal += 1
    open[id] = OpenItem(item: item)
    actions.append(emit(.itemStarted(item)))
    return actions
  }

  /// A piece of an item; nothing where the item is not open.
  mutating func delta(_ id: String, _ field: ItemDelta.Field, _ text: String) -> [HarnessAction] {
    guard !text.isEmpty, let ordinal = open[id]?.item.ordinal else { return [] }
    let delta = ItemDelta(ordinal: ordinal, field: field, text: text)
    open[id]?.deltas.append(delta)
    return [emit(.itemDelta(delta))]
  }

  /// The harness has closed the item; one that it never opened is opened first.
  mutating func complete(_ id: String, _ content: Item.Content, _ status: Item.Status) -> [HarnessAction] {
    var actions = open[id] == nil ? start(id, content) : []
    guard let opened = open.removeValue(forKey: id) else { return actions }
    actions.append(
      emit(.itemCompleted(Item(ordinal: opened.item.ordinal, status: status, content: content))))
    return actions
  }

  /// Closes an item that the harness left open.
  mutating func close(_ id: String) -> [HarnessAction] {
    guard let opened = open.removeValue(forKey: id) else { return [] }
    var item = opened.item
    for delta in opened.deltas { item.append(delta) }
    item.status = .incomplete
    return [emit(.itemCompleted(item))]
  }

  /// Closes all open items that match, oldest first.
  mutating func closeAll(where matches: (Item.Content) -> Bool = { _ in true }) -> [HarnessAction] {
    let ids = open.filter { matches($0.value.item.content) }.sorted { $0.value.item.ordinal < $1.value.item.ordinal }
    return ids.flatMap { close($0.key) }
  }

  func emit(_ payload: EventPayload) -> HarnessAction { .emit(EventDraft(payload, execution: execution)) }
}

extension Item.Content {
  var isCommand: Bool { if case .command = self { true } else { false } }
  /// What a model writes: gone when its stream is cut.
  var isModelText: Bool {
    switch self {
    case .message, .reasoning: true
    default: false
    }
  }
}

extension [HarnessAction] {
  /// The events' place in the harness's output: the line's offset, and which of its events each is.
  func from(_ line: HarnessLine) -> [HarnessAction] {
    var index = 0
    return map { action in
      guard case .emit(var draft) = action else { return action }
      draft.source = EventSource(offset: line.offset, index: index)
      index += 1
      return .emit(draft)
    }
  }
}
