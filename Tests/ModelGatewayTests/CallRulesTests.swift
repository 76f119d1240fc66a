import NIOCore
import NIOHTTP1
import SessionModel
import Testing

@testable import ModelGateway

@Suite("What a sandbox may ask of the model gateway")
struct CallRulesTests {
  @Test(
    "nothing but the three model calls passes",
    arguments: [
      (HTTPMethod.GET, "/v1/responses"), (.POST, "/v1/models"), (.POST, "/v1/responses/"), (.POST, "/v1/Responses"),
      (.POST, "//v1/responses"), (.POST, "/v1/responses/../files"), (.POST, "/v1/%72esponses"),
      (.DELETE, "/v1/messages"),
      (.POST, "http://elsewhere/v1/responses"), (.POST, "/v1/messages/batches"), (.POST, "/v1/responses?a#b"),
      (.POST, ""), (.POST, "/v1/responses?a b"),
    ])
  func routes(_ method: HTTPMethod, _ uri: String) {
    #expect(throws: CentaurError.self) { try CallRules.path(method, uri) }
  }

  @Test("a query goes along")
  func query() throws {
    let found = try CallRules.path(.POST, "/v1/messages?beta=true")
    #expect(found.path == .messages)
    #expect(found.query == "?beta=true")
  }

  @Test(
    "a call that could be read as one of another model is refused",
    arguments: [
      #"{}"#, #"{"model":"m2"}"#, #"{"model":"m1","model":"m2"}"#, #"{"model":"m2","model":"m1"}"#,
      #"{"model":"m1","mod\u0065l":"m2"}"#, #"{"model":"m1","Model":"m2"}"#, #"{"MODEL":"m1"}"#, #"{"model":["m1"]}"#,
      #"{"model":null}"#, #"["m1"]"#, #"{"model":"m1"} {"model":"m2"}"#, #"{"model":"m1 "}"#, "", "m1",
      #"{"input":{"model":"m1"}}"#,
    ])
  func models(_ body: String) {
    #expect(throws: CentaurError.self) { try CallRules.model(ByteBuffer(string: body), allowed: ["m1"]) }
  }

  @Test("a model on the list passes, wherever its key stands and whatever lies deeper")
  func allowedModel() throws {
    let body = #"{"input":[{"model":"m2"}],"mod\u0065l":"m1"}"#
    #expect(try CallRules.model(ByteBuffer(string: body), allowed: ["m0", "m1"]) == "m1")
  }

  @Test("what could carry a credential or lead elsewhere is left behind; what the models need goes along")
  func headers() {
    let sent: HTTPHeaders = [
      "Authorization": "Bearer x", "X-Api-Key": "x", "Cookie": "x", "Proxy-Authorization": "x", "Host": "evil",
      "X-Forwarded-Host": "evil", "Forwarded": "host=evil", "OpenAI-Organization": "o", "OpenAI-Project": "p",
      "X-Auth-Token": "x", "X-Goog-Api-Key": "x", "Connection": "close, X-Mine", "X-Mine": "x", "Via": "x",
      "Accept-Encoding": "gzip", "X-Original-URL": "/v1/files", "Content-Length": "1", "Transfer-Encoding": "chunked",
      "anthropic-beta": "b1", "anthropic-version": "2023-06-01", "Content-Type": "application/json",
      "User-Agent": "u", "x-claude-code-session-id": "s", "session-id": "s", "Accept": "text/event-stream",
    ]
    #expect(
      CallRules.forwarded(sent).map(\.name).sorted() == [
        "Accept", "Content-Type", "User-Agent", "anthropic-beta", "anthropic-version", "session-id",
        "x-claude-code-session-id",
      ])
  }

  @Test("a refusal is told in the path's dialect, with its code, and at the status at which harnesses give up")
  func refusals() {
    let error = CentaurError(.sessionTokenLimit, "Enough.")
    let anthropic = Refusal(error, uri: "/v1/messages?beta=true")
    #expect(anthropic.status == .badRequest)
    #expect(anthropic.body["type"]?.string == "error")
    #expect(anthropic.body["error"]?["type"]?.string == "invalid_request_error")
    let openAI = Refusal(error, uri: "/v1/responses")
    #expect(openAI.body["error"]?["code"]?.string == "session_token_limit")
    #expect(openAI.body["error"]?["message"]?.string == "Enough. (session_token_limit)")
    #expect(openAI.body["type"] == nil)
  }
}
