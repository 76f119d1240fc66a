public import ControlPlane
import Foundation
public import SessionModel

/// What a client of any dialect may ask for by our own headers.
public struct CentaurHeaders: Sendable {
  /// `X-Centaur-Thread-Key`
  public let threadKey: ThreadKey?
  /// `X-Centaur-Harness`
  public let harness: HarnessName?
  /// `X-Centaur-Persona`, or a model named `centaur/<persona>`
  public let persona: String?
  /// The model asked for, where it does not name a persona.
  public let model: String?
  /// `X-Centaur-Busy`
  public let busy: TurnRequest.BusyPolicy?
  /// `X-Centaur-On-Disconnect: cancel`
  public let cancelsOnDisconnect: Bool

  /// - Throws: `CentaurError` with `threadKeyTooLong`, `threadKeyMalformed`, `invalidValue`
  public init(_ headers: RequestHeaders, model: String?) throws(CentaurError) {
    threadKey = if let key = headers["x-centaur-thread-key"] { try ThreadKey(headerValue: key) } else { nil }
    harness = headers["x-centaur-harness"].map(HarnessName.init(rawValue:))
    let prefix = "centaur/"
    let named = model.flatMap { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
    persona = headers["x-centaur-persona"] ?? named
    self.model = named == nil ? model : nil
    busy = try Self.busy(headers["x-centaur-busy"])
    cancelsOnDisconnect = try Self.cancels(headers["x-centaur-on-disconnect"])
  }

  private static func busy(_ text: String?) throws(CentaurError) -> TurnRequest.BusyPolicy? {
    guard let text else { return nil }
    guard let policy = TurnRequest.BusyPolicy(rawValue: text) else {
      let choices = TurnRequest.BusyPolicy.allCases.map(\.rawValue).joined(separator: ", ")
      throw CentaurError(.invalidValue, "X-Centaur-Busy is one of \(choices).", parameter: "x-centaur-busy")
    }
    return policy
  }

  private static func cancels(_ text: String?) throws(CentaurError) -> Bool {
    switch text {
    case nil, "continue": return false
    case "cancel": return true
    default:
      throw CentaurError(
        .invalidValue, "X-Centaur-On-Disconnect is one of continue, cancel.", parameter: "x-centaur-on-disconnect")
    }
  }
}

extension ThreadKey {
  /// Reads what `headerValue` gave; a key that was never encoded stays as it is.
  /// - Throws: `CentaurError` with `threadKeyTooLong` or `threadKeyMalformed`
  public init(headerValue text: String) throws(CentaurError) {
    try self.init(text.removingPercentEncoding ?? text)
  }

  /// A header holds ASCII; what is not is percent-encoded, and so is the percent sign.
  public var headerValue: String {
    var value = ""
    for byte in rawValue.utf8 {
      if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "%") {
        value.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        value += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
    return value
  }
}
