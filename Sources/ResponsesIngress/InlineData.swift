import Ingress
import SessionModel

/// Images and files of a request: their content is in it, as `data:` URLs. No address is ever fetched, and this server
/// keeps no uploads.
enum InlineData {
  /// The longest URLs that the specification allows, in characters.
  private static let longestImage = 20_971_520
  private static let longestFile = 33_554_432
  /// How closely a model is to look at an image. Codex's harness takes these and no other.
  static let details = ["low", "high", "auto", "original"]

  /// Of an `input_image` part.
  /// - Throws: `FieldFault` with `unsupported`, `missingField`, `invalidType`, `invalidValue`
  static func image(_ part: JSONValue) throws(FieldFault) -> Message.Part {
    try refuse("file_id", of: part, "this server keeps no uploads: send the image as a data: URL in 'image_url'")
    let url = try url("image_url", of: part, longest: longestImage)
    do { try InlineContent.check(imageURL: url) } catch {
      throw FieldFault(error.code, error.predicate).inside("image_url")
    }
    return .image(dataURL: url, detail: part["detail"]?.string.flatMap { details.contains($0) ? $0 : nil })
  }

  /// Of an `input_file` part.
  /// - Throws: `FieldFault` with `unsupported`, `missingField`, `invalidType`, `invalidValue`
  static func file(_ part: JSONValue) throws(FieldFault) -> Message.Part {
    try refuse("file_id", of: part, "this server keeps no uploads: send the file as a data: URL in 'file_data'")
    try refuse("file_url", of: part, "addresses are never fetched: send the file as a data: URL in 'file_data'")
    try FieldMember("filename", .string(longest: 1024)).check(in: part)
    let url = try url("file_data", of: part, longest: longestFile)
    do { try InlineContent.check(dataURL: url) } catch {
      throw FieldFault(error.code, error.predicate).inside("file_data")
    }
    return .file(name: part["filename"]?.string, dataURL: url)
  }

  private static func refuse(_ name: String, of part: JSONValue, _ why: String) throws(FieldFault) {
    guard let value = part[name], !value.isNull else { return }
    throw FieldFault(.unsupported, "is not supported: \(why)").inside(name)
  }

  private static func url(_ name: String, of part: JSONValue, longest: Int) throws(FieldFault) -> String {
    try FieldMember(name, .string(longest: longest), isRequired: true).check(in: part)
    return part[name]?.string ?? ""
  }
}
