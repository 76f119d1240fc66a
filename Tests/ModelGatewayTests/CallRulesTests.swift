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
      (.POST, "http://elsewhere/v1/responses"), (.POST, "/v1/messages/batches"),
      (.POST, ""), (.POST, "?beta=true"),
    ])
  func routes(_ method: HTTPMethod, _ uri: String) {
    #expect(throws: CentaurError.self) { try CallRules.path(method, uri) }
  }

  @Test("the query that Claude Code sends goes along, and nothing else of it")
  func query() throws {
    let found = try CallRules.path(.POST, "/v1/messages?beta=true")
    #expect(found.path == .messages)
    #expect(found.query == "?beta=true")
    for query in ["", "?", "?x=1", "?beta=true&x=1", "?beta=true?x", "?a#b", "?a b", "?Beta=true"] {
      let found = try CallRules.path(.POST, "/v1/responses\(query)")
      #expect(found.path == .responses && found.query.isEmpty, "\(query)")
    }
  }

  @Test(
    "a call that would have the provider keep, fetch or run something is refused, and told by which field",
    arguments: [
      (#""previous_response_id":"resp_1""#, "previous_response_id"), (#""conversation":{"id":"c"}"#, "conversation"),
      (#""Conversation":"c""#, "conversation"), (#""prompt":{"id":"p"}"#, "prompt"),
      (#""background":true"#, "background"), (#""background":false,"background":true"#, "background"),
      (#""mcp_servers":[{"url":"https://x"}]"#, "mcp_servers"),
      (#""tools":[{"type":"function","name":"f"},{"type":"mcp"}]"#, "tools: mcp"),
      (#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#, "tools: web_search_20250305"),
      (#""tools":[{"type":"function","type":"Web_Fetch"}]"#, "tools: web_fetch"),
      (#""tools":[],"tools":[{"type":"code_interpreter"}]"#, "tools: code_interpreter"),
      (#""tools":[{"type":"namespace","tools":[{"type":"file_search"}]}]"#, "tools: file_search"),
      (#""tools":[{"type":"computer_use_preview"}]"#, "tools: computer_use_preview"),
      (#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#, "tools: shell"),
      (
        #""input":[{"type":"additional_tools","tools":[{"type":"image_generation"}]}]"#,
        "input: tools: image_generation"
      ),
    ])
  func hosted(_ members: String, _ field: String) {
    let error = #expect(throws: CentaurError.self) {
      try CallRules.model(ByteBuffer(string: "{\"model\":\"m1\",\(members)}"), allowed: ["m1"])
    }
    #expect(error?.code == .callNotAllowed)
    #expect(error?.message.contains("'\(field)'") == true)
  }

  @Test("a harness's own tools pass, and fields that ask for nothing")
  func ownTools() throws {
    let body = #"""
      {"model":"m1","previous_response_id":null,"conversation":null,"background":false,"mcp_servers":[],"tools":[
      {"type":"function","name":"web_search"},{"name":"mcp__cp__lookup"},{"type":"custom","name":"apply_patch"},
      {"type":"local_shell"},{"type":"namespace","name":"mcp__x","tools":[{"type":"function"}]},
      {"type":"bash_20250124"}],"input":[{"type":"web_search_call"}],"messages":[{"type":"mcp","conversation":"x"}]}
      """#
    #expect(try CallRules.model(ByteBuffer(string: body), allowed: ["m1"]) == "m1")
  }

  @Test("a body of more values than the gateway will hold is refused before they are held")
  func values() throws {
    // The object, the model, the input and its elements.
    let body = ByteBuffer(string: #"{"model":"m1","input":[0,[],{"a":0}]}"#)
    #expect(try CallRules.model(body, allowed: ["m1"], maximumValues: 7) == "m1")
    let error = #expect(throws: CentaurError.self) {
      try CallRules.model(body, allowed: ["m1"], maximumValues: 6)
    }
    #expect(error?.code == .bodyTooLarge)
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
      "Accept-Encoding": "gzip", "X-Original-URL": "/v1/files", "x-litellm-api-base": "evil",
      "Helicone-Target-Url": "evil", "x-portkey-config": "x",
      "cf-aig-custom-cost": "x", "Content-Length": "1", "Transfer-Encoding": "chunked",
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
