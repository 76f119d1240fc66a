import SessionModel

/// What a turn has left open, as a fold over its events.
struct OpenTurn: Sendable {
  private struct OpenItem {
    var item: Item
    /// What was added to each of its fields, joined only if we must close the item: adding to the item's own text would
    /// copy all of it each time.
    var added: [ItemDelta.Field: String] = [:]
  }

  private var open: [Int: OpenItem] = [:]
  private(set) var usage = TurnUsage()

  mutating func fold(_ event: SessionEvent) {
    switch event.payload {
    case .itemStarted(let item): open[item.ordinal] = OpenItem(item: item)
    case .itemCompleted(let item): open[item.ordinal] = nil
    case .itemDelta(let delta): open[delta.ordinal]?.added[delta.field, default: ""] += delta.text
    case .usageUpdated(_, let turn): usage = turn
    default: break
    }
  }

  /// The items that were never closed, as incomplete, in order.
  var openItems: [Item] {
    open.values.sorted { $0.item.ordinal < $1.item.ordinal }.map { opened in
      var closed = opened.item
      for (field, text) in opened.added {
        closed.append(ItemDelta(ordinal: closed.ordinal, field: field, text: text))
      }
      closed.status = .incomplete
      return closed
    }
  }
}
