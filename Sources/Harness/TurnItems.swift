import SessionModel

/// The items of one turn as an adapter meets them: gives each its ordinal, and knows which are open.
///
/// Every adapter goes through this, so the log's rule holds for all of them: an item is started once, closed once, and
/// has deltas only between the two. And so does the bound on what a command's output takes in the log.
struct TurnItems: Sendable, Codable {
  let execution: ExecutionID
  private var nextOrdinal = 1
  /// By the harness's own id of the item; ids may be used again once the item is closed.
  private var open: [String: OpenItem] = [:]

  private struct OpenItem: Codable {
    var item: Item
    /// What was added to each of its fields but a command's output, joined with the item only if we must close it:
    /// adding to the item's own text would copy all of it each time.
    var added: [ItemDelta] = []
    var output = CommandOutput()

    mutating func add(_ field: ItemDelta.Field, _ text: String) {
      guard let index = added.lastIndex(where: { $0.field == field }) else {
        return added.append(ItemDelta(ordinal: item.ordinal, field: field, text: text))
      }
      added[index].text += text
    }
  }

  init(execution: ExecutionID) { self.execution = execution }

  var isEmpty: Bool { open.isEmpty }

  func isOpen(_ id: String) -> Bool { open[id] != nil }

  /// An open item's place.
  func ordinal(_ id: String) -> Int? { open[id]?.item.ordinal }

  func hasOpen(where matches: (Item.Content) -> Bool) -> Bool { open.values.contains { matches($0.item.content) } }

  mutating func start(_ id: String, _ content: Item.Content) -> [HarnessAction] {
    var actions = open[id] == nil ? [] : close(id)
    let item = Item(ordinal: nextOrdinal, status: .inProgress, content: content.bounded)
    nextOrdinal += 1
    open[id] = OpenItem(item: item)
    actions.append(emit(.itemStarted(item)))
    return actions
  }

  /// A piece of an item; nothing where the item is not open, or has more output than the log takes.
  mutating func delta(_ id: String, _ field: ItemDelta.Field, _ text: String) -> [HarnessAction] {
    guard !text.isEmpty, let ordinal = open[id]?.item.ordinal else { return [] }
    guard field != .output else {
      let shown = open[id]?.output.add(text) ?? ""
      return shown.isEmpty ? [] : [emit(.itemDelta(ItemDelta(ordinal: ordinal, field: field, text: shown)))]
    }
    open[id]?.add(field, text)
    return [emit(.itemDelta(ItemDelta(ordinal: ordinal, field: field, text: text)))]
  }

  /// The harness has closed the item; one that it never opened is opened first.
  mutating func complete(_ id: String, _ content: Item.Content, _ status: Item.Status) -> [HarnessAction] {
    var actions = open[id] == nil ? start(id, content) : []
    guard let opened = open.removeValue(forKey: id) else { return actions }
    var content = content.bounded
    if opened.output.holdsBack, case .command(var command) = content {
      actions.append(rest(of: opened))
      // What the log has heard, and not what the harness kept of it: the pieces add up to the whole.
      command.output = opened.output.text + opened.output.rest
      content = .command(command)
    }
    actions.append(
      emit(.itemCompleted(Item(ordinal: opened.item.ordinal, status: status, content: content))))
    return actions
  }

  /// Closes an item that the harness left open.
  mutating func close(_ id: String) -> [HarnessAction] {
    guard let opened = open.removeValue(forKey: id) else { return [] }
    var item = opened.item
    var actions: [HarnessAction] = []
    for delta in opened.added { item.append(delta) }
    item.append(ItemDelta(ordinal: item.ordinal, field: .output, text: opened.output.text))
    if opened.output.holdsBack {
      actions.append(rest(of: opened))
      item.append(ItemDelta(ordinal: item.ordinal, field: .output, text: opened.output.rest))
    }
    item.status = .incomplete
    return actions + [emit(.itemCompleted(item))]
  }

  private func rest(of opened: OpenItem) -> HarnessAction {
    emit(.itemDelta(ItemDelta(ordinal: opened.item.ordinal, field: .output, text: opened.output.rest)))
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
