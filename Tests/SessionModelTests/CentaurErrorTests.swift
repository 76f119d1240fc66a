import Foundation
import SessionModel
import Testing

/// A code is what a client's program decides by: it must be one, keep its name, and be found again in the log.
struct CentaurErrorTests {
  /// The codes that the source declares: `all` is written by hand, and one that it misses would lose its category.
  private static func declared() throws -> [String] {
    let source = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/SessionModel/CentaurError.swift")
    return try String(contentsOf: source, encoding: .utf8)
      .matches(of: /static let \w+ = Self\("([^"]+)"/).map { String($0.output.1) }
  }

  @Test("every code that there is stands in the list of all")
  func complete() throws {
    let declared = try Self.declared()
    #expect(declared.count >= 39)
    #expect(Set(CentaurError.Code.all.map(\.rawValue)) == Set(declared))
  }

  @Test("no two codes have the same name")
  func unique() {
    #expect(Set(CentaurError.Code.all.map(\.rawValue)).count == CentaurError.Code.all.count)
    #expect(CentaurError.Code.all.allSatisfy { $0.rawValue.wholeMatch(of: /[a-z]+(_[a-z]+)*/) != nil })
  }

  @Test("a code that was written to the log is found again with its category")
  func named() {
    for code in CentaurError.Code.all {
      #expect(CentaurError.Code.named(code.rawValue) == code)
      #expect(CentaurError.Code.named(code.rawValue).category == code.category)
    }
  }

  @Test("a code of a newer version is kept by its name and counts as ours")
  func unknown() {
    let code = CentaurError.Code.named("code_of_tomorrow")
    #expect(code.rawValue == "code_of_tomorrow")
    #expect(code.category == .internalFailure)
  }

  @Test("an error says its code and its sentence")
  func description() {
    let error = CentaurError(.emptyInput, "Say something.", parameter: "input", retryAfter: .seconds(3))
    #expect(error.description == "empty_input: Say something.")
    #expect(error.parameter == "input" && error.retryAfter == .seconds(3))
    let failure = ExecutionFailure(error)
    #expect(failure == ExecutionFailure(code: "empty_input", message: "Say something."))
  }
}
