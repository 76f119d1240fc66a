/// How many tokens a text is, estimated: no tokenizer is public, and clients only want to know about how much fits.
///
/// Four bytes of ASCII or one other character a token, as the providers' own rules of thumb say; 1,600 for an image,
/// which is what the largest costs; 2,000 for 50 kB of a PDF.
public enum TokenEstimate {
  public static let image = 1600

  public static func text(_ text: String) -> Int {
    var ascii = 0
    var others = 0
    for scalar in text.unicodeScalars { if scalar.isASCII { ascii += 1 } else { others += 1 } }
    return (ascii + 3) / 4 + others
  }

  /// A document in Base64 of so many characters.
  public static func document(base64 count: Int) -> Int { max(2000, count * 3 / 4 / 25) }
}
