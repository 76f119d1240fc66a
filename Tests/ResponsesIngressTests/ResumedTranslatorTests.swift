import SampleTurns
import SessionModel
import Testing

@testable import ResponsesIngress

/// A client that comes back by its response's id: whatever it saw last, it sees the rest, and nothing twice.
struct ResumedTranslatorTests {
  private static func log(_ name: String) throws -> [SessionEvent] {
    SampleTurns.log(try #require(SampleTurns.all[name]))
  }

  private static func echo(_ name: String) throws -> ReplyEcho { try #require(TranslatorTests.echoes[name]) }

  @Test("the stream from any number on is the rest of the whole one", arguments: TranslatorTests.cases)
  func rest(_ log: String, _ echo: String) throws {
    let (events, echo) = (try Self.log(log), try Self.echo(echo))
    let whole = TranslatorTests.fold(events, echo).events
    for last in -1...whole.count {
      var resumed = ResumedTranslator(TranslatorTests.translator(echo), after: last)
      var seen = resumed.start()
      for event in events { seen += resumed.fold(event) }
      #expect(seen == Array(whole.dropFirst(last + 1)))
    }
  }

  @Test("a keep-alive is under the number of the last event that the client has seen, or waits for")
  func keepAlive() throws {
    let (events, echo) = (try Self.log("commentary-and-answer"), try Self.echo("codex"))
    for last in [-1, 0, 3, 500] {
      var resumed = ResumedTranslator(TranslatorTests.translator(echo), after: last)
      var whole = TranslatorTests.translator(echo)
      _ = (resumed.start(), whole.start())
      for event in events {
        _ = (resumed.fold(event), whole.fold(event))
        #expect(resumed.keepAlive.sequence == max(last, whole.eventCount - 1))
        #expect(whole.keepAlive.sequence == whole.eventCount - 1)
      }
    }
  }

  @Test("the response as of now holds what is finished and what is open", arguments: TranslatorTests.cases)
  func current(_ log: String, _ echo: String) throws {
    let (events, echo) = (try Self.log(log), try Self.echo(echo))
    var translator = TranslatorTests.translator(echo)
    var written = translator.start()
    #expect(translator.current["status"] == "queued")
    for event in events {
      written += translator.fold(event)
      let added = written.filter { $0.type == "response.output_item.added" }.count
      let done = written.filter { $0.type == "response.output_item.done" }.compactMap { $0.data["item"] }
      let output = try #require(translator.current["output"]?.array)
      #expect(output.count == added)
      #expect(Array(output.prefix(done.count)) == done)
      #expect(output.dropFirst(done.count).allSatisfy { $0["status"] == "in_progress" })
      if !translator.isFinished {
        #expect(translator.current["usage"] == .null)
        #expect(["queued", "in_progress"].contains(translator.current["status"]?.string))
      }
    }
    switch translator.outcome {
    case .completed?, .calls?: #expect(translator.current == translator.response)
    case .failed?: #expect(translator.current["status"] == "failed")
    case .cancelled?:
      #expect(translator.current["status"] == "cancelled")
      #expect(translator.current["error"] == .null)
    case nil: break
    }
  }

  @Test("a response in the background says so, also when its reply is read again")
  func background() throws {
    let asked = ReplyEcho(
      body: ["model": "m", "background": true], isCodex: false, showsWork: false, showsItems: false, heldItemIDs: [])
    for echo in [asked, ReplyEcho(json: try JSONValue(parsing: asked.json.text))] {
      #expect(TranslatorTests.translator(echo).current["background"] == true)
    }
    #expect(TranslatorTests.translator(try Self.echo("sdk")).current["background"] == false)
  }
}
