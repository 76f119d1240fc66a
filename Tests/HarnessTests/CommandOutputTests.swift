import SessionModel
import Testing

@testable import Harness

/// A command may print without end: the log has where it began and how it ended, and says what is missing.
struct CommandOutputTests {
  private static let whole = CommandOutput.beginning + CommandOutput.end
  private static let execution = ExecutionID(rawValue: "e")

  /// What the log has of a command that prints `pieces`: by its deltas, and by its completed item.
  private static func logged(
    _ pieces: [String], keeping aggregated: String = "", isClosed: Bool = true
  ) -> (deltas: String, completed: CommandItem?) {
    var items = TurnItems(execution: execution)
    var actions = items.start("c", .command(CommandItem(command: "yes")))
    for piece in pieces { actions += items.delta("c", .output, piece) }
    actions +=
      isClosed
      ? items.complete("c", .command(CommandItem(command: "yes", output: aggregated, exitCode: 0)), .completed)
      : items.closeAll()
    var deltas = ""
    var completed: CommandItem?
    for case .emit(let draft) in actions {
      switch draft.payload {
      case .itemDelta(let delta): deltas += delta.text
      case .itemCompleted(let item): if case .command(let command) = item.content { completed = command }
      default: break
      }
    }
    return (deltas, completed)
  }

  private static func pieces(_ count: Int, of size: Int = 8192) -> [String] {
    let line = String(repeating: "é", count: size / 2)
    let rest = String(line.prefix(count % size / 2))
    return Array(repeating: line, count: count / size) + (rest.isEmpty ? [] : [rest])
  }

  @Test("an output at the limit is whole, in its pieces and as an item", arguments: [true, false])
  func atLimit(_ isClosed: Bool) {
    let pieces = Self.pieces(Self.whole)
    let logged = Self.logged(pieces, isClosed: isClosed)
    #expect(logged.deltas == pieces.joined())
    #expect(logged.completed?.output == logged.deltas)
  }

  @Test("of an output over the limit the log has both ends, and the pieces add up", arguments: [true, false])
  func overLimit(_ isClosed: Bool) {
    let pieces = Self.pieces(Self.whole + 2)
    let logged = Self.logged(pieces, isClosed: isClosed)
    #expect(logged.completed?.output == logged.deltas)
    #expect(logged.deltas.contains("\n… 2 bytes left out …\n"))
    #expect(logged.deltas.utf8.count == Self.whole + "\n… 2 bytes left out …\n".utf8.count)
  }

  @Test("200 MB of output, in small pieces or in one, take no more than the limit")
  func endless() throws {
    for size in [8192, 100 << 20] {
      let begin = "begin ", end = " the end"
      let logged = Self.logged([begin] + Self.pieces(200 << 20, of: size) + [end])
      #expect(logged.deltas.hasPrefix(begin) && logged.deltas.hasSuffix(end))
      #expect(logged.deltas.contains("\n… \((200 << 20) + begin.utf8.count + end.utf8.count - Self.whole) bytes left"))
      #expect(logged.deltas.utf8.count < Self.whole + 64)
      #expect(logged.completed?.output == logged.deltas)
      #expect(logged.completed?.exitCode == 0)
    }
  }

  @Test("an output that comes as one is cut likewise, between characters")
  func bounded() {
    let whole = String(repeating: "x", count: CommandOutput.beginning - 1) + String(repeating: "😀", count: 100_000)
    let command = Self.logged([], keeping: whole).completed
    let output = command?.output ?? ""
    #expect(output.hasPrefix(String(repeating: "x", count: CommandOutput.beginning - 1) + "\n… "))
    #expect(output.hasSuffix("…\n" + String(repeating: "😀", count: CommandOutput.end / 4)))
    #expect(!output.contains("\u{FFFD}"))
    let short = "as it is"
    #expect(Self.logged([], keeping: short).completed?.output == short)
  }

  @Test("an output that the log has whole is what the harness says at its end")
  func short() {
    let logged = Self.logged(["a", "b"], keeping: "ab, as the harness kept it")
    #expect(logged.deltas == "ab")
    #expect(logged.completed?.output == "ab, as the harness kept it")
  }
}
