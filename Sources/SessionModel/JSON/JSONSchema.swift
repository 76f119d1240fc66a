/// A JSON Schema (draft 2020-12, and what older drafts wrote otherwise) that an answer is to be valid against, looked at
/// as a schema. What an answer is that does not fit: `misfit(of:)`.
///
/// A keyword that is not known is left alone, as the drafts ask.
public struct JSONSchema: Sendable {
  let root: JSONValue

  public init(_ schema: JSONValue) { root = schema }

  /// What is wrong with it as a schema, and where (`properties.n.type`); nil for one that can be used.
  public struct Fault: Error, Sendable, Hashable {
    public var path: String
    /// Follows the path in a sentence.
    public var reason: String
  }

  public var fault: Fault? {
    do {
      try check(root, at: "")
      return nil
    } catch { return error }
  }

  private static let types: Set<String> = ["null", "boolean", "object", "array", "number", "string", "integer"]
  private static let namedSchemas = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]
  private static let schemas = [
    "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames", "contains", "not", "if",
    "then",
    "else", "additionalItems",
  ]
  private static let lists = ["anyOf", "oneOf", "allOf", "prefixItems"]
  private static let counts = [
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
  ]
  private static let texts = ["title", "description", "pattern", "format", "$id", "$schema", "$anchor"]

  private func check(_ schema: JSONValue, at path: String) throws(Fault) {
    if schema.bool != nil { return }
    guard let object = schema.object else {
      throw Fault(path: path, reason: "must be a schema: an object or a boolean")
    }
    for (keyword, value) in object.members { try check(keyword, value, at: Self.join(path, keyword)) }
  }

  private func check(_ keyword: String, _ value: JSONValue, at path: String) throws(Fault) {
    switch keyword {
    case "type": try checkType(value, at: path)
    case "enum":
      guard value.array?.isEmpty == false else { throw Fault(path: path, reason: "must be a list of values") }
    case "required":
      guard let names = value.array, names.allSatisfy({ $0.string != nil }) else {
        throw Fault(path: path, reason: "must be a list of names")
      }
    case "items":
      guard let list = value.array else { return try check(value, at: path) }
      for (index, schema) in list.enumerated() { try check(schema, at: "\(path)[\(index)]") }
    case "$ref": try checkReference(value, at: path)
    case _ where Self.namedSchemas.contains(keyword):
      guard let named = value.object else { throw Fault(path: path, reason: "must be an object of schemas") }
      for (name, schema) in named.members { try check(schema, at: Self.join(path, name)) }
    case _ where Self.lists.contains(keyword):
      guard let list = value.array, !list.isEmpty else { throw Fault(path: path, reason: "must be a list of schemas") }
      for (index, schema) in list.enumerated() { try check(schema, at: "\(path)[\(index)]") }
    case _ where Self.schemas.contains(keyword): try check(value, at: path)
    case _ where Self.counts.contains(keyword):
      guard let count = value.int, count >= 0 else { throw Fault(path: path, reason: "must be a whole number from 0") }
    case _ where Self.texts.contains(keyword):
      guard value.string != nil else { throw Fault(path: path, reason: "must be a text") }
    default: return
    }
  }

  private func checkType(_ value: JSONValue, at path: String) throws(Fault) {
    let names = value.array ?? [value]
    guard !names.isEmpty, names.allSatisfy({ $0.string.map(Self.types.contains) == true }) else {
      throw Fault(path: path, reason: "is one of \(Self.types.sorted().joined(separator: ", ")), or a list of them")
    }
  }

  /// One that stays within the schema: nothing is fetched.
  private func checkReference(_ value: JSONValue, at path: String) throws(Fault) {
    guard let reference = value.string, reference.hasPrefix("#") else {
      throw Fault(path: path, reason: "must stay within the schema (#/…); addresses are never fetched")
    }
    guard resolve(reference) != nil else { throw Fault(path: path, reason: "leads to nothing in the schema") }
  }

  /// By JSON Pointer (RFC 6901); a named anchor counts as found.
  func resolve(_ reference: String) -> JSONValue? {
    guard reference != "#", reference.hasPrefix("#/") else { return root }
    var found: JSONValue? = root
    for step in reference.dropFirst(2).split(separator: "/", omittingEmptySubsequences: false) {
      let name = step.replacing("~1", with: "/").replacing("~0", with: "~")
      found = Int(name).flatMap { found?[$0] } ?? found?[String(name)]
    }
    return found
  }

  private static func join(_ path: String, _ step: String) -> String { path.isEmpty ? step : "\(path).\(step)" }

  // MARK: Strict

  /// Why a model cannot be held to it: OpenAI's rules for `strict` (structured outputs). Nil where it can be.
  public var reasonNotStrict: String? {
    guard root["type"]?.string == "object" else { return "its root must be of the type object" }
    return Self.reasonNotStrict(root, at: "")
  }

  private static func reasonNotStrict(_ schema: JSONValue, at path: String) -> String? {
    guard let object = schema.object else { return nil }
    let place = path.isEmpty ? "at the root" : "in '\(path)'"
    if let properties = schema["properties"]?.object {
      let required = Set((schema["required"]?.array ?? []).compactMap(\.string))
      guard schema["additionalProperties"]?.bool == false else {
        return "'additionalProperties' must be false \(place)"
      }
      if let name = properties.members.first(where: { !required.contains($0.key) })?.key {
        return "'required' must name '\(name)' \(place)"
      }
    } else if isObject(schema), schema["additionalProperties"]?.bool != false {
      return "'additionalProperties' must be false \(place)"
    }
    for (keyword, value) in object.members {
      let inner = join(path, keyword)
      switch keyword {
      case _ where namedSchemas.contains(keyword):
        for (name, schema) in (value.object ?? JSONObject()).members {
          if let reason = reasonNotStrict(schema, at: join(inner, name)) { return reason }
        }
      case _ where lists.contains(keyword):
        for (index, schema) in (value.array ?? []).enumerated() {
          if let reason = reasonNotStrict(schema, at: "\(inner)[\(index)]") { return reason }
        }
      case "items": if let reason = reasonNotStrict(value, at: inner) { return reason }
      default: continue
      }
    }
    return nil
  }

  private static func isObject(_ schema: JSONValue) -> Bool {
    schema["type"]?.string == "object" || schema["type"]?.array?.contains("object") == true
  }
}
