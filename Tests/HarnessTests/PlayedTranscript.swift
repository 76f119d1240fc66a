import Harness
import SessionModel
import Testing

/// Gives what a machine is restored from: of the how manieth input, and as it was saved behind that.
typealias Restore = (_ step: Int, _ saved: [UInt8]) throws -> [UInt8]

/// What a machine made of a whole recording, and the rules that hold for every harness.
struct PlayedTranscript: Hashable {
  /// Everything that the machine wanted, in order.
  let actions: [HarnessAction]
  /// Executions that were begun.
  let begun: [ExecutionID]

  var golden: String { actions.map(\.golden).joined(separator: "\n") + "\n" }

  /// Each item is started once and closed once, and pieces come between.
  func checkItems() {
    var open: Set<String> = []
    var started: Set<String> = []
    for draft in actions.drafts {
      func key(_ ordinal: Int) -> String { "\(draft.executionID?.rawValue ?? "")/\(ordinal)" }
      switch draft.payload {
      case .itemStarted(let item):
        #expect(started.insert(key(item.ordinal)).inserted)
        open.insert(key(item.ordinal))
      case .itemDelta(let delta): #expect(open.contains(key(delta.ordinal)))
      case .itemCompleted(let item): #expect(open.remove(key(item.ordinal)) != nil)
      default: break
      }
    }
    #expect(open.isEmpty, "left open: \(open)")
  }

  /// Each turn ends exactly once.
  func checkTurns() throws {
    var ends: [ExecutionID: Int] = [:]
    for draft in actions.drafts where draft.payload.isTerminal {
      ends[try #require(draft.executionID), default: 0] += 1
    }
    for execution in begun { #expect(ends[execution] == 1, "\(execution)") }
    #expect(ends.count == begun.count)
  }

  /// An event knows its line, and lines follow one another.
  func checkSources() {
    var last: EventSource?
    for draft in actions.drafts {
      guard let source = draft.source else { continue }
      if let last { #expect(last < source) }
      last = source
    }
  }

  /// A turn's usage is the sum of its model calls.
  func checkUsage() {
    var calls: [ExecutionID: Usage] = [:]
    for draft in actions.drafts {
      guard let id = draft.executionID else { continue }
      switch draft.payload {
      case .usageUpdated(let call, let turn):
        calls[id] = (calls[id] ?? Usage()) + call
        #expect(turn.sum == calls[id])
      case .executionCompleted(let usage), .executionFailed(_, let usage), .executionCancelled(_, let usage):
        #expect(usage.sum == calls[id] ?? Usage())
      default: break
      }
    }
  }
}

extension [HarnessAction] {
  var drafts: [EventDraft] { compactMap { if case .emit(let draft) = $0 { draft } else { nil } } }

  /// How turns ended.
  var terminals: [EventPayload] { drafts.map(\.payload).filter(\.isTerminal) }

  /// The items that were closed.
  var closed: [Item] {
    drafts.compactMap { if case .itemCompleted(let item) = $0.payload { item } else { nil } }
  }

  /// The codes of warnings.
  var warnings: [String] {
    drafts.compactMap { if case .warning(let code, _) = $0.payload { code } else { nil } }
  }

  /// What another process is to go on from.
  var savedState: JSONValue? {
    compactMap { if case .saveState(let state) = $0 { state } else { nil } }.last
  }

  /// What the harness was sent, as JSON.
  var sent: [JSONValue] {
    compactMap { if case .send(_, let bytes) = $0 { try? JSONValue(parsing: bytes) } else { nil } }
  }
}
