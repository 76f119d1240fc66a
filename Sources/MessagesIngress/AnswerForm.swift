import SessionModel

/// What form a program wants the answer to have: `output_config.format`, or, as betas before it had it, `output_format`.
enum AnswerForm {
  static func of(_ body: JSONValue) -> (form: JSONValue, path: String)? {
    for (form, path) in [
      (body["output_config"]?["format"], "output_config.format"), (body["output_format"], "output_format"),
    ] {
      if let form, !form.isNull { return (form, path) }
    }
    return nil
  }

  /// What cannot be asked of a harness is refused before anything is begun.
  /// - Throws: `CentaurError` with `missingField`, `invalidValue`
  static func check(_ body: JSONValue) throws(CentaurError) {
    guard let (form, path) = of(body) else { return }
    guard form["type"]?.string == "json_schema" else {
      throw CentaurError(.invalidValue, "'\(path).type' is 'json_schema'.", parameter: "\(path).type")
    }
    guard let schema = form["schema"], !schema.isNull else {
      throw CentaurError(.missingField, "The format needs a 'schema'.", parameter: "\(path).schema")
    }
    guard schema.object != nil else {
      throw CentaurError(
        .invalidType, "'schema' must be an object, not \(schema.kindDescription).", parameter: "\(path).schema")
    }
    guard let fault = JSONSchema(schema).fault else { return }
    let place = fault.path.isEmpty ? "\(path).schema" : "\(path).schema.\(fault.path)"
    throw CentaurError(.invalidValue, "'\(place)' \(fault.reason).", parameter: place)
  }
}
