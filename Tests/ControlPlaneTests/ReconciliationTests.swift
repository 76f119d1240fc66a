import SessionModel
import Testing

@testable import ControlPlane

/// What a request is, against what its session has taken.
struct ReconciliationTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var request: TurnRequest
    var facts: Reconciliation.Facts
    var decision: Reconciliation.Decision

    init(
      _ name: String, _ request: TurnRequest, _ facts: Reconciliation.Facts, _ decision: Reconciliation.Decision
    ) {
      testDescription = name
      self.request = request
      self.facts = facts
      self.decision = decision
    }
  }

  static let one = Message.said("one", "m1")
  static let two = Message.said("two", "m2")
  static let unnamed = Message.said("who am I")
  static let past = [Message.said("long ago", "m0"), Message(role: .assistant, parts: [.text("yes")])]

  static func request(
    _ client: TurnRequest.ClientKind, _ input: [Message], turn: String? = nil, history: [Message] = []
  ) -> TurnRequest {
    TurnRequest(
      owner: .local, session: .fresh, client: client, turnKey: turn, input: input, hasHistory: !history.isEmpty,
      history: { history }, origin: "test", replyPrefix: "resp", echo: .null)
  }

  static func turn(_ id: String, _ status: Execution.Status) -> Execution {
    Execution(
      id: ExecutionID(rawValue: id), sessionID: SessionID(rawValue: "s"), ordinal: 1, turnKey: "t1", status: status,
      options: TurnOptions(), firstSeq: 1, createdAt: Timestamp(milliseconds: 0))
  }

  static let new = Reconciliation.Facts(isKnown: false, takers: [:], turn: nil, running: nil)

  /// A session that has taken messages: by the named turn each, or by none (history that it was seeded with).
  static func known(
    _ takers: [String: String?] = [:], turn: Execution? = nil, running: Execution? = nil
  ) -> Reconciliation.Facts {
    Reconciliation.Facts(
      isKnown: true,
      takers: takers.mapValues { TakenInput(execution: $0.map(ExecutionID.init(rawValue:)), seq: 1) }, turn: turn,
      running: running)
  }

  /// A session whose newest turn is this one.
  static func newest(_ turn: Execution?, running: Execution? = nil) -> Reconciliation.Facts {
    Reconciliation.Facts(isKnown: true, takers: [:], turn: nil, running: running, newest: turn)
  }

  /// A session in which both messages were taken by turns that did not come to an answer.
  static func failed(_ takers: [String: String], turn: Execution? = nil) -> Reconciliation.Facts {
    var facts = known(takers.mapValues(Optional.some), turn: turn)
    facts.failed = Set(takers.values.map(ExecutionID.init(rawValue:)))
    return facts
  }

  static func attach(_ id: String) -> Reconciliation.Decision { .attach(ExecutionID(rawValue: id)) }
  static func steer(_ id: String, _ input: [Message]) -> Reconciliation.Decision {
    .steer(ExecutionID(rawValue: id), input: input)
  }

  static let running = turn("e1", .running)
  static let over = turn("e1", .completed)

  static let rows: [Row] = [
    // A session that is new to us.
    Row("CLI, new", request(.cli, [one], turn: "t1"), new, .start(input: [one], history: [])),
    Row("SDK, new", request(.sdk, [unnamed]), new, .start(input: [unnamed], history: [])),
    Row(
      "a program's messages are one question", request(.sdk, [one, two]), new,
      .start(input: [one, two], history: [])),
    Row(
      "a CLI's earlier messages were turns of their own", request(.cli, [one, two], turn: "t2"), new,
      .start(input: [two], history: [one])),
    Row(
      "CLI, new to us, with history", request(.cli, [one, two], turn: "t2", history: past), new,
      .start(input: [two], history: past + [one])),
    Row(
      "SDK, new to us, with history", request(.sdk, [two], history: past), new, .start(input: [two], history: past)),
    Row("nothing said, new", request(.cli, []), new, .nothing),

    // A session that is known.
    Row(
      "a next turn", request(.cli, [two], turn: "t2"), known(["m1": "e1"]), .start(input: [two], history: [])),
    Row(
      "a next turn while another runs", request(.cli, [two], turn: "t2"), known(["m1": "e1"], running: running),
      .start(input: [two], history: [])),
    Row(
      "a next turn beside a message that was taken", request(.cli, [one, two], turn: "t2"), known(["m1": "e1"]),
      .start(input: [two], history: [])),
    Row(
      "history that comes again is not told again", request(.cli, [two], turn: "t2", history: past),
      known(["m1": "e1"]), .start(input: [two], history: [])),
    Row("a program's next question", request(.sdk, [unnamed]), known(), .start(input: [unnamed], history: [])),

    // Retries.
    Row(
      "a retry while the turn runs", request(.cli, [one], turn: "t1"),
      known(["m1": "e1"], turn: running, running: running), attach("e1")),
    Row("a retry after the turn", request(.cli, [one], turn: "t1"), known(["m1": "e1"], turn: over), attach("e1")),
    Row(
      "a retry whose turn has another name now", request(.cli, [one], turn: "t9"), known(["m1": "e1"]), attach("e1")),
    Row("a retry without ids", request(.sdk, [unnamed], turn: "key:k"), known(turn: over), attach("e1")),
    Row(
      "a retry without ids while the turn runs", request(.sdk, [unnamed], turn: "key:k"),
      known(turn: running, running: running), attach("e1")),
    Row("a retry that repeats nothing", request(.cli, [], turn: "t1"), known(turn: over), attach("e1")),
    Row(
      "a retry of what became a turn of its own", request(.cli, [one, two], turn: "t1"),
      known(["m1": "e1", "m2": "e2"], turn: over), attach("e2")),

    // The same turn of the client's, and one more message.
    Row(
      "a steer", request(.cli, [one, two], turn: "t1"), known(["m1": "e1"], turn: running, running: running),
      steer("e1", [two])),
    Row(
      "a steer before the turn runs", request(.cli, [one, two], turn: "t1"),
      known(["m1": "e1"], turn: turn("e1", .queued)), steer("e1", [two])),
    Row(
      "a steer after the turn", request(.cli, [one, two], turn: "t1"), known(["m1": "e1"], turn: over),
      .start(input: [two], history: [])),
    Row(
      "a steer of a turn that is not the running one", request(.cli, [one, two], turn: "t1"),
      known(["m1": "e1"], turn: over, running: turn("e2", .running)), .start(input: [two], history: [])),

    // A client whose messages come in pieces, and that asks again in its user's name only.
    Row(
      "one message in pieces, new", request(.cli, [one, two]).with { $0.isOneMessage = true }, new,
      .start(input: [one, two], history: [])),
    Row(
      "one message in pieces, new, with history",
      request(.cli, [one, two], history: past).with { $0.isOneMessage = true }, new,
      .start(input: [one, two], history: past)),
    Row(
      "a failed turn whose user asks again",
      request(.cli, [one, two]).with { $0.repeatsFailedTurns = true }, failed(["m1": "e0", "m2": "e1"]),
      .repeated(input: [two])),
    Row(
      "a failed turn that a client repeats by itself", request(.cli, [one, two]), failed(["m1": "e0", "m2": "e1"]),
      attach("e1")),
    Row(
      "a completed turn whose user asks again", request(.cli, [one]).with { $0.repeatsFailedTurns = true },
      known(["m1": "e1"]), attach("e1")),
    Row(
      "a failed turn that is named", request(.cli, [one], turn: "key:k").with { $0.repeatsFailedTurns = true },
      failed(["m1": "e1"], turn: over), attach("e1")),
    Row(
      "what a client missed of the running turn", request(.cli, []).with { $0.continues = true },
      newest(over, running: turn("e2", .running)), attach("e2")),
    Row(
      "what a client missed of the last turn", request(.cli, []).with { $0.continues = true }, newest(over),
      attach("e1")),
    Row("what a client missed of no turn", request(.cli, []).with { $0.continues = true }, newest(nil), .nothing),

    // Nothing to do.
    Row("input that was all seeded history", request(.cli, [one]), known(["m1": nil]), .nothing),
    Row(
      "seeded history under a known turn", request(.cli, [one], turn: "t1"), known(["m1": nil], turn: over),
      attach("e1")),
    Row("empty input", request(.cli, []), known(), .nothing),
  ]

  @Test("a request is read against what its session has taken", arguments: rows)
  func decides(_ row: Row) {
    #expect(Reconciliation.decide(row.request, row.facts) == row.decision)
  }
}
