import SessionModel

/// The fields of a program's request, as Open Responses 2026-04-24 has them (`CreateResponseBody`), with what OpenAI's
/// SDKs know beside them. A field that is in no table is accepted and has no effect.
enum RequestFields {
  /// Holds a program's request to the specification, and what it asks about its context (`ContextRoutes`), whose fields
  /// are a request's. Codex is never refused for a field that it sends
  /// (wire/codex-client.md §1.2), so its requests do not come here.
  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`, `missingField`, `unsupported`, whose parameter is the
  ///   field's path
  static func check(_ body: JSONValue) throws(CentaurError) {
    do {
      for member in members { try member.check(in: body) }
      try ToolFields.checkChoice(in: body)
      try checkBackground(body)
    } catch {
      throw error.error
    }
  }

  /// The types of what is read of every client's request, Codex's included.
  /// - Throws: `CentaurError` with `invalidType`, whose parameter is the field's name
  static func checkTypes(_ body: JSONValue) throws(CentaurError) {
    do { for member in ofEveryClient { try member.check(in: body) } } catch { throw error.error }
  }

  /// What a client notes about its own objects.
  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`
  static func metadata(in body: JSONValue) throws(CentaurError) -> JSONValue {
    do { try FieldMember("metadata", .checked(metadata(_:))).check(in: body) } catch { throw error.error }
    return body["metadata"].unlessNull ?? .object(JSONObject())
  }

  private static let ofEveryClient: [FieldMember] =
    ["model", "instructions", "previous_response_id", "service_tier", "prompt_cache_key", "safety_identifier"]
    .map { FieldMember($0, .string()) }
    + ["stream", "store", "parallel_tool_calls", "background"].map { FieldMember($0, .bool) }
    + ["reasoning", "text", "metadata", "client_metadata", "stream_options"].map { FieldMember($0, .object([])) }
    + ["tools", "include"].map { FieldMember($0, .list(of: .any)) }

  /// The longest text that the specification allows, in characters.
  static let longestText = 10_485_760

  private static let members: [FieldMember] = [
    FieldMember("model", .string(longest: 512)),
    FieldMember("instructions", .string()),
    FieldMember("previous_response_id", .string(longest: 512)),
    FieldMember("stream", .bool),
    FieldMember("store", .bool),
    FieldMember("background", .bool),
    FieldMember("parallel_tool_calls", .bool),
    FieldMember("temperature", .number(0...2)),
    FieldMember("top_p", .number(0...1)),
    FieldMember("presence_penalty", .number(-2...2)),
    FieldMember("frequency_penalty", .number(-2...2)),
    FieldMember("top_logprobs", .integer(0...20)),
    FieldMember("max_output_tokens", .integer(16...Int.max)),
    FieldMember("max_tool_calls", .integer(1...Int.max)),
    FieldMember("truncation", .oneOf(["auto", "disabled"])),
    FieldMember("service_tier", .oneOf(ServiceTier.names)),
    FieldMember("safety_identifier", .string(longest: 64)),
    FieldMember("prompt_cache_key", .string(longest: 64)),
    FieldMember("user", .string(longest: 512)),
    FieldMember("metadata", .checked(metadata)),
    FieldMember("include", .list(of: .oneOf(includes))),
    FieldMember("stream_options", .object([FieldMember("include_obfuscation", .bool)])),
    FieldMember(
      "reasoning",
      .object([
        FieldMember("effort", .oneOf(["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
        FieldMember("summary", .oneOf(summaries)), FieldMember("generate_summary", .oneOf(summaries)),
      ])),
    FieldMember("text", .object(TextFields.members)),
    FieldMember("tools", .checked(ToolFields.check)),
    FieldMember("tool_choice", .checked(ToolFields.checkChoice(_:))),
    FieldMember("prompt", .checked(storedPrompt)),
    FieldMember("input", .checked(InputFields.check)),
  ]

  /// `none` is ours: the agent's work is not shown.
  private static let summaries = ["auto", "concise", "detailed", "none"]

  /// The specification's two, and those that OpenAI's SDKs know for items that this server never has.
  private static let includes = [
    "reasoning.encrypted_content", "message.output_text.logprobs", "message.input_image.image_url",
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "code_interpreter_call.outputs", "computer_call_output.output.image_url",
  ]

  private static let mostPairs = 16

  private static func metadata(_ value: JSONValue) throws(FieldFault) {
    guard let pairs = value.object else { throw .wrongType("an object", value) }
    guard pairs.count <= mostPairs else { throw FieldFault(.invalidValue, "may have at most \(mostPairs) pairs") }
    for (key, value) in pairs.members {
      guard key.unicodeScalars.count <= 64 else {
        throw FieldFault(.invalidValue, "has a key of more than 64 characters")
      }
      do { try FieldShape.string(longest: 512).check(value) } catch { throw error.inside(key) }
    }
  }

  private static func storedPrompt(_: JSONValue) throws(FieldFault) {
    throw FieldFault(.unsupported, "is not supported: this server keeps no prompts. Send 'instructions' and 'input'")
  }

  /// Nobody could come back for a response that is not kept.
  private static func checkBackground(_ body: JSONValue) throws(FieldFault) {
    guard body["background"]?.bool == true, body["store"]?.bool == false else { return }
    throw FieldFault(.invalidValue, "needs a response that is stored, and 'store' is false").inside("background")
  }
}
