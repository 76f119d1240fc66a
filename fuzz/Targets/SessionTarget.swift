import SessionModel

@testable import SessionAPI

/// A body of the session API.
enum SessionTarget {
  static func check(_ input: [UInt8]) throws {
    guard let value = try? JSONValue(parsing: input) else { return }
    do {
      let body = try SessionAPIBody(value)
      for name in ["harness", "persona", "model", "effort", "busy", "execution_id", "reason"] {
        _ = try body.string(name)
      }
      if body.hasMessage { try Kept.check(.messageAppended(body.message())) }
    } catch let error as CentaurError {
      try Kept.check(error, told: ["message": .string(error.message), "param": JSONValue(error.parameter)])
    }
  }
}
