import Harness
import SessionModel

/// What a machine emitted, as the log's rules want it.
enum Log {
  static func check(_ actions: [HarnessAction], begun: [ExecutionID]) throws {
    let drafts = actions.compactMap { action -> EventDraft? in
      if case .emit(let draft) = action { draft } else { nil }
    }
    try checkItems(drafts)
    try checkEnds(drafts, begun)
    try checkSources(drafts)
    try checkUsage(drafts)
  }

  /// Each item is started once and closed once, and pieces come between.
  private static func checkItems(_ drafts: [EventDraft]) throws {
    var open: Set<String> = []
    var started: Set<String> = []
    for draft in drafts {
      func key(_ ordinal: Int) -> String { "\(draft.executionID?.rawValue ?? "")/\(ordinal)" }
      switch draft.payload {
      case .itemStarted(let item):
        try require(started.insert(key(item.ordinal)).inserted, "an item that is started twice")
        open.insert(key(item.ordinal))
      case .itemDelta(let delta): try require(open.contains(key(delta.ordinal)), "a piece of an item that is not open")
      case .itemCompleted(let item):
        try require(open.remove(key(item.ordinal)) != nil, "an item that is closed without being open")
      default: continue
      }
    }
    try require(open.isEmpty, "items that are left open: \(open)")
  }

  private static func checkEnds(_ drafts: [EventDraft], _ begun: [ExecutionID]) throws {
    let ended = drafts.filter(\.payload.isTerminal).compactMap(\.executionID)
    try require(ended == begun, "turns \(begun) that end as \(ended)")
  }

  private static func checkSources(_ drafts: [EventDraft]) throws {
    let sources = drafts.compactMap(\.source)
    try require(
      zip(sources, sources.dropFirst()).allSatisfy { $0 < $1 }, "events whose lines do not follow one another")
  }

  /// A turn's usage is the sum of its model calls, and nothing costs less than nothing.
  private static func checkUsage(_ drafts: [EventDraft]) throws {
    var sums: [ExecutionID: Usage] = [:]
    for draft in drafts {
      guard let id = draft.executionID else { continue }
      switch draft.payload {
      case .usageUpdated(let call, let turn):
        try require(
          min(call.input, call.cachedInput, call.output, call.reasoning) >= 0, "a call that costs less than nothing")
        let sum = (sums[id] ?? Usage()) + call
        sums[id] = sum
        try require(turn.sum == sum, "a turn's usage that is not the sum of its calls'")
      case .executionCompleted(let usage), .executionFailed(_, let usage), .executionCancelled(_, let usage):
        try require(usage.sum == sums[id] ?? Usage(), "a turn's end with another usage")
      default: continue
      }
    }
  }

  /// The events as they are committed; the log gives back what it was given.
  static func events(_ actions: [HarnessAction]) throws -> [SessionEvent] {
    var events: [SessionEvent] = []
    for case .emit(let draft) in actions {
      try Kept.check(draft.payload)
      events.append(
        SessionEvent(
          seq: Int64(events.count + 1), sessionID: SessionID(rawValue: "s"), executionID: draft.executionID,
          payload: draft.payload, createdAt: Timestamp(milliseconds: 1_800_000_000_000 + Int64(events.count)),
          source: draft.source))
    }
    return events
  }
}
