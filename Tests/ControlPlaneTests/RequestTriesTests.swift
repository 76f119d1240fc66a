import SessionModel
import Testing

@testable import ControlPlane

/// What a server remembers of requests that may be sent again.
struct RequestTriesTests {
  private static let start = Timestamp(milliseconds: 1000)

  private static func answer(_ id: String, at milliseconds: Int64 = 2000, isOver: Bool = true) -> NamedAnswer {
    NamedAnswer(
      wireID: id, sessionID: SessionID(rawValue: "s"), executionID: ExecutionID(rawValue: "e"),
      createdAt: Timestamp(milliseconds: milliseconds), isOver: isOver)
  }

  @Test("an earlier server's: one that is not over was told to nobody, one that is over perhaps, ours surely were")
  func unknown() {
    let tries = RequestTries(since: Self.start)
    let (old, over, ours) = (Self.answer("old", at: 1, isOver: false), Self.answer("over", at: 2), Self.answer("ours"))
    func found(_ answers: [NamedAnswer]) -> String? {
      let retry = tries.begin("n\(answers)", retries: 1, endsWithClient: false)
      return tries.answer(for: retry.id, among: answers)?.wireID
    }
    #expect(found([ours, over, old]) == "old")
    #expect(found([ours, over]) == "over")
    #expect(found([ours]) == "ours")
    #expect(found([]) == nil)
  }

  @Test("a retry that found its answer and was refused finds it again")
  func refusedBehindIt() {
    let tries = RequestTries(since: Self.start)
    do {
      let retry = tries.begin("n", retries: 1, endsWithClient: false)
      #expect(tries.answer(for: retry.id, among: [Self.answer("a")]) != nil)
      retry.isRefused(comesBack: true)
    }
    let next = tries.begin("n", retries: 2, endsWithClient: false)
    #expect(tries.answer(for: next.id, among: [Self.answer("b"), Self.answer("a")])?.wireID == "a")
  }

  @Test("an answer that is being told to a later try, or was taken by a retry of the same number, is not found")
  func others() {
    let tries = RequestTries(since: Self.start)
    let retry = tries.begin("n", retries: 1, endsWithClient: false)
    let later = tries.begin("n", retries: 0, endsWithClient: false)
    later.isAnswered(by: "a")
    #expect(tries.answer(for: retry.id, among: [Self.answer("a")]) == nil)
    let taker = tries.begin("n", retries: 1, endsWithClient: false)
    #expect(tries.answer(for: taker.id, among: [Self.answer("b")]) != nil)
    let other = tries.begin("n", retries: 1, endsWithClient: false)
    #expect(tries.answer(for: other.id, among: [Self.answer("b")]) == nil)
  }

  @Test("of several that are being answered it is the one whose client goes away, though that is learnt a moment later")
  func partedLater() async {
    let tries = RequestTries(since: Self.start)
    let answers = ["c", "b", "a"].map { Self.answer($0, isOver: false) }
    let stays = tries.begin("n", retries: 0, endsWithClient: false)
    stays.isAnswered(by: "b")
    var goes: RequestTry? = tries.begin("n", retries: 0, endsWithClient: false)
    goes?.isAnswered(by: "a")
    let third = tries.begin("n", retries: 0, endsWithClient: false)
    third.isAnswered(by: "c")
    let retry = tries.begin("n", retries: 1, endsWithClient: false)
    async let parted: Void = tries.parted(before: retry.id, patience: .seconds(300))
    goes = nil
    await parted
    #expect(tries.answer(for: retry.id, among: answers)?.wireID == "a")
    // Where nobody goes it is not waited for without end.
    let other = tries.begin("m", retries: 0, endsWithClient: false)
    other.isAnswered(by: "a")
    let another = tries.begin("m", retries: 0, endsWithClient: false)
    another.isAnswered(by: "b")
    let last = tries.begin("m", retries: 1, endsWithClient: false)
    await tries.parted(before: last.id, patience: .milliseconds(20))
    #expect(tries.answer(for: last.id, among: answers) != nil)
  }

  @Test("a turn that its client wanted ended with it is not what its retry gets")
  func endsWithClient() {
    for (endsWithClient, found) in [(true, nil), (false, "a")] {
      let tries = RequestTries(since: Self.start)
      do {
        let first = tries.begin("n", retries: 0, endsWithClient: endsWithClient)
        first.isAnswered(by: "a")
      }
      let retry = tries.begin("n", retries: 1, endsWithClient: endsWithClient)
      #expect(tries.answer(for: retry.id, among: [Self.answer("a")])?.wireID == found)
    }
  }

  @Test("no more is remembered than the limit, but for what is being answered")
  func limit() {
    let tries = RequestTries(since: Self.start, limit: 4)
    let live = tries.begin("live", retries: 0, endsWithClient: false)
    live.isAnswered(by: "l")
    for number in 0..<100 {
      tries.begin("n\(number)", retries: 0, endsWithClient: false).isAnswered(by: "a\(number)")
    }
    #expect(tries.count <= 5)
    let retry = tries.begin("n99", retries: 1, endsWithClient: false)
    #expect(tries.answer(for: retry.id, among: [Self.answer("b99"), Self.answer("a99")])?.wireID == "a99")
    #expect(tries.isRemembered(live.id))
  }
}
