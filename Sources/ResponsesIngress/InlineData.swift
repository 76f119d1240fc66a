import SessionModel

/// Images and files of a request: their content is in it, as `data:` URLs. No address is ever fetched, and this server
/// keeps no uploads.
enum InlineData {
  /// The longest URLs that the specification allows, in characters.
  private static let longestImage = 20_971_520
  private static let longestFile = 33_554_432

  /// Of an `input_image` part.
  /// - Throws: `FieldFault` with `unsupported`, `missingField`, `invalidType`, `invalidValue`
  static func image(_ part: JSONValue) throws(FieldFault) -> Message.Part {
    try refuse("file_id", of: part, "this server keeps no uploads: send the image as a data: URL in 'image_url'")
    let url = try url("image_url", of: part, longest: longestImage)
    guard url.hasPrefix("data:image/") else {
      throw FieldFault(.invalidValue, "must hold an image: data:image/png;base64,…").inside("image_url")
    }
    return .image(dataURL: url)
  }

  /// Of an `input_file` part.
  /// - Throws: `FieldFault` with `unsupported`, `missingField`, `invalidType`, `invalidValue`
  static func file(_ part: JSONValue) throws(FieldFault) -> Message.Part {
    try refuse("file_id", of: part, "this server keeps no uploads: send the file as a data: URL in 'file_data'")
    try refuse("file_url", of: part, "addresses are never fetched: send the file as a data: URL in 'file_data'")
    try FieldMember("filename", .string(longest: 1024)).check(in: part)
    return .file(
      name: part["filename"]?.string, dataURL: try url("file_data", of: part, longest: longestFile))
  }

  private static func refuse(_ name: String, of part: JSONValue, _ why: String) throws(FieldFault) {
    guard let value = part[name], !value.isNull else { return }
    throw FieldFault(.unsupported, "is not supported: \(why)").inside(name)
  }

  private static func url(_ name: String, of part: JSONValue, longest: Int) throws(FieldFault) -> String {
    try FieldMember(name, .string(longest: longest), isRequired: true).check(in: part)
    let url = part[name]?.string ?? ""
    guard url.hasPrefix("data:") else {
      throw FieldFault(.unsupported, "must be a data: URL; addresses are never fetched").inside(name)
    }
    guard let comma = url.utf8.firstIndex(of: UInt8(ascii: ",")) else {
      throw FieldFault(.invalidValue, "is no data: URL: it has no comma").inside(name)
    }
    let content = url.utf8[url.utf8.index(after: comma)...]
    guard !content.isEmpty else { throw FieldFault(.invalidValue, "holds nothing").inside(name) }
    if url[..<comma].hasSuffix(";base64"), content.withContiguousStorageIfAvailable(isBase64) == false {
      throw FieldFault(.invalidValue, "is not base64").inside(name)
    }
    return url
  }

  private static func isBase64(_ content: UnsafeBufferPointer<UInt8>) -> Bool {
    var padding = 0
    for byte in content {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
        if padding > 0 { return false }
      case UInt8(ascii: "="): padding += 1
      default: return false
      }
    }
    return padding <= 2 && content.count % 4 == 0
  }
}
