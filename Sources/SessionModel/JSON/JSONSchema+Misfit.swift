/// Whether an answer is what its schema asks for, as far as the keywords go by which models are held to schemas: `type`,
/// `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`, `prefixItems`, `anyOf`, `oneOf`, `allOf`,
/// `not` and `$ref`. Every other keyword counts as kept.
extension JSONSchema {
  /// Where an answer is not what was asked for.
  public struct Misfit: Sendable, Hashable {
    /// Of the value (`items[0].name`); empty for the whole answer.
    public var path: String
    /// Follows the path in a sentence.
    public var reason: String
  }

  /// Why a text is no answer to the schema; nil where it is one.
  public func misfit(of answer: String) -> Misfit? {
    do {
      return misfit(of: try JSONValue(parsing: answer))
    } catch { return Misfit(path: "", reason: "is not JSON") }
  }

  /// Why a value is no answer to the schema; nil where it is one, or where to tell would cost too much.
  public func misfit(of value: JSONValue) -> Misfit? {
    var check = MisfitCheck(schema: self)
    return check.misfit(of: value, in: root, at: "", depth: 0)
  }
}

/// One look through an answer.
private struct MisfitCheck {
  typealias Misfit = JSONSchema.Misfit

  let schema: JSONSchema
  /// Schemas may be written so that a short answer takes for ever, or that they lead to themselves.
  private var left = 100_000
  private static let deepest = 400

  init(schema: JSONSchema) { self.schema = schema }

  mutating func misfit(of value: JSONValue, in part: JSONValue, at path: String, depth: Int) -> Misfit? {
    left -= 1
    guard left > 0, depth < Self.deepest else { return nil }
    if let allows = part.bool { return allows ? nil : Misfit(path: path, reason: "must not be there") }
    if let reference = part["$ref"]?.string, reference == "#" || reference.hasPrefix("#/"),
      let target = schema.resolve(reference),
      let found = misfit(of: value, in: target, at: path, depth: depth + 1)
    {
      return found
    }
    return typeMisfit(value, part, path) ?? valueMisfit(value, part, path)
      ?? choiceMisfit(value, part, path, depth) ?? insideMisfit(value, part, path, depth)
  }

  private func typeMisfit(_ value: JSONValue, _ part: JSONValue, _ path: String) -> Misfit? {
    let types = (part["type"]?.array ?? [part["type"]].compactMap(\.self)).compactMap(\.string)
    guard !types.isEmpty, !types.contains(where: { Self.isOf($0, value) }) else { return nil }
    return Misfit(
      path: path, reason: "must be of the type \(types.joined(separator: " or ")), not \(value.kindDescription)")
  }

  private static func isOf(_ type: String, _ value: JSONValue) -> Bool {
    switch type {
    case "null": value.isNull
    case "boolean": value.bool != nil
    case "object": value.object != nil
    case "array": value.array != nil
    case "string": value.string != nil
    case "number": value.double != nil
    case "integer": value.double.map { $0 == $0.rounded() } ?? false
    default: true
    }
  }

  private func valueMisfit(_ value: JSONValue, _ part: JSONValue, _ path: String) -> Misfit? {
    if let choices = part["enum"]?.array, !choices.contains(where: { $0.means(value) }) {
      return Misfit(path: path, reason: "is none of the values that it may have")
    }
    if let only = part["const"], !only.means(value) {
      return Misfit(path: path, reason: "is not the value that it must have")
    }
    return nil
  }

  private mutating func choiceMisfit(_ value: JSONValue, _ part: JSONValue, _ path: String, _ depth: Int) -> Misfit? {
    for branch in part["allOf"]?.array ?? [] {
      if let found = misfit(of: value, in: branch, at: path, depth: depth + 1) { return found }
    }
    if let branches = part["anyOf"]?.array, count(branches, value, path, depth, upTo: 1) == 0 {
      return Misfit(path: path, reason: "is none of the alternatives that it may be")
    }
    if let branches = part["oneOf"]?.array, count(branches, value, path, depth, upTo: 2) != 1 {
      return Misfit(path: path, reason: "must be exactly one of the alternatives")
    }
    if let other = part["not"], misfit(of: value, in: other, at: path, depth: depth + 1) == nil, left > 0 {
      return Misfit(path: path, reason: "is what it must not be")
    }
    return nil
  }

  /// How many of the branches the value fits.
  private mutating func count(
    _ branches: [JSONValue], _ value: JSONValue, _ path: String, _ depth: Int, upTo enough: Int
  ) -> Int {
    var fitting = 0
    for branch in branches where fitting < enough {
      if misfit(of: value, in: branch, at: path, depth: depth + 1) == nil { fitting += 1 }
    }
    // What was not looked at to its end is not held against the answer.
    return left > 0 ? fitting : 1
  }

  private mutating func insideMisfit(_ value: JSONValue, _ part: JSONValue, _ path: String, _ depth: Int) -> Misfit? {
    switch value {
    case .object(let object): objectMisfit(object, part, path, depth)
    case .array(let elements): arrayMisfit(elements, part, path, depth)
    default: nil
    }
  }

  private mutating func objectMisfit(_ object: JSONObject, _ part: JSONValue, _ path: String, _ depth: Int) -> Misfit? {
    let values = Dictionary(object.members.map { ($0.key, $0.value) }) { _, last in last }
    for name in (part["required"]?.array ?? []).compactMap(\.string) where values[name] == nil {
      return Misfit(path: path, reason: "lacks '\(name.prefix(64))'")
    }
    let properties = Dictionary((part["properties"]?.object?.members.map { ($0.key, $0.value) }) ?? []) { _, last in
      last
    }
    // Patterns are not read here, and what they allow is not told.
    let others = part["patternProperties"] == nil ? part["additionalProperties"] : nil
    for (name, value) in object.members {
      let inner = path.isEmpty ? String(name.prefix(64)) : "\(path).\(name.prefix(64))"
      guard let schema = properties[name] ?? others else { continue }
      if let found = misfit(of: value, in: schema, at: inner, depth: depth + 1) { return found }
    }
    return nil
  }

  private mutating func arrayMisfit(_ elements: [JSONValue], _ part: JSONValue, _ path: String, _ depth: Int) -> Misfit?
  {
    // Older drafts wrote the first ones as `items`.
    let first = part["prefixItems"]?.array ?? part["items"]?.array ?? []
    let rest = part["items"]?.array == nil ? part["items"] : part["additionalItems"]
    for (index, element) in elements.enumerated() {
      guard let schema = index < first.count ? first[index] : rest else { continue }
      if let found = misfit(of: element, in: schema, at: "\(path)[\(index)]", depth: depth + 1) { return found }
    }
    return nil
  }
}

extension JSONValue {
  /// Whether both say the same: numbers by their value, members in any order.
  fileprivate func means(_ other: JSONValue) -> Bool {
    switch (self, other) {
    case (.object(let own), .object(let others)):
      own.count == others.count && own.members.allSatisfy { name, value in others[name].map(value.means) ?? false }
    case (.array(let own), .array(let others)):
      own.count == others.count && zip(own, others).allSatisfy { $0.means($1) }
    case (.int, .double), (.double, .int): double == other.double
    default: self == other
    }
  }
}
