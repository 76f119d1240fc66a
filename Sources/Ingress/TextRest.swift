extension String {
  /// What the pieces of a text lack of its whole, for a client that adds pieces up; nil where they are no beginning of it.
  ///
  /// By bytes: a piece may end inside what Swift takes for one character (`\r` of `\r\n`, a letter before its accent).
  public func rest(behind pieces: String) -> String? {
    guard utf8.starts(with: pieces.utf8) else { return nil }
    return String(decoding: utf8.dropFirst(pieces.utf8.count), as: UTF8.self)
  }
}
