public import SessionModel

/// Cuts a harness's output into lines, and knows each line's offset.
public struct HarnessLineSplitter: Sendable {
  private let limit: Int
  private var rest: [UInt8] = []
  private var restOffset: Int64 = 0

  /// - Parameters:
  ///   - limit: the longest line, in bytes.
  ///   - offset: where the output begins, if not at its first byte.
  public init(limit: Int, at offset: Int64 = 0) {
    self.limit = limit
    restOffset = offset
  }

  /// Takes the next bytes; they must follow those before.
  /// - Throws: `CentaurError` with `harnessLineTooLong`
  public mutating func feed(_ bytes: [UInt8], at offset: Int64) throws(CentaurError) -> [HarnessLine] {
    if rest.isEmpty { restOffset = offset }
    var lines: [HarnessLine] = []
    var start = 0
    while let newline = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      let line = rest + bytes[start..<newline]
      guard line.count <= limit else { throw tooLong }
      if !line.isEmpty { lines.append(HarnessLine(offset: restOffset, bytes: line)) }
      rest.removeAll(keepingCapacity: false)
      start = newline + 1
      restOffset = offset + Int64(start)
    }
    rest.append(contentsOf: bytes[start...])
    guard rest.count <= limit else { throw tooLong }
    return lines
  }

  /// The offset of the first byte that is not part of a line that was given out.
  public var unread: Int64 { restOffset }

  /// The offset of the byte that `feed` takes next.
  public var end: Int64 { restOffset + Int64(rest.count) }

  private var tooLong: CentaurError {
    CentaurError(.harnessLineTooLong, "The harness printed a line of more than \(limit) bytes.")
  }
}
