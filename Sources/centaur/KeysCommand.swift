import ArgumentParser
import CentaurServer
import FoundationEssentials
import Glibc
import SessionModel

/// `centaur keys`: who may use the servers of a data directory.
struct KeysCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Make, list and revoke keys.",
    discussion: """
      It works on the data directory, beside a server that runs or without one; what it changes holds at once. Once a key \
      was made, every request needs one.
      """,
    subcommands: [Create.self, List.self, Revoke.self])

  /// Which keys.
  struct Place: ParsableArguments {
    @OptionGroup var options: PlaceOptions

    /// Runs `body` with the keys, and says in one sentence what went wrong.
    func with(_ body: (KeyRing) async throws -> Void) async throws {
      do {
        let settings = try ServerConfiguration(
          file: options.config, listen: nil, data: options.data, environment: ProcessInfo.processInfo.environment)
        try await body(KeyRing(data: settings.data))
      } catch let error as CentaurError {
        throw Failure(description: error.message)
      } catch let error as ConfigurationError {
        throw error.refusal()
      }
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "create", abstract: "Make a key and show it, this once.",
      discussion: "The key alone is on standard output, what to know of it on standard error.")
    @OptionGroup var place: Place
    @Option(
      help: "Whose sessions it opens: another key's owner, or `local` for those made without a key. Default: its own.")
    var owner: String?
    @Option(help: "What it is for, in your words.")
    var name: String?
    @Option(help: ArgumentHelp("Requests a minute, in the place of limits.key_requests.", valueName: "number"))
    var requests: Int?
    @Option(help: ArgumentHelp("Turns at work or waiting, in the place of limits.key_turns.", valueName: "number"))
    var turns: Int?

    func run() async throws {
      try await place.with { ring in
        let made = try await ring.create(owner: owner, name: name, requests: requests, turns: turns)
        print(made.secret)
        fflush(nil)
        note("\(made.key.id) of the owner '\(made.key.owner)'. It is shown this once: keep it now.")
        guard made.isFirst else { return }
        note("It is the first one here: from now on every request needs a key, also if all of them are revoked.")
        if made.key.owner != .local {
          note("Sessions that were made without a key are the owner 'local''s: --owner local makes a key for them.")
        }
      }
    }

    private func note(_ line: String) {
      let bytes = Array("\(line)\n".utf8)
      _ = write(STDERR_FILENO, bytes, bytes.count)
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List keys, the oldest first, without their secrets.")
    @OptionGroup var place: Place
    @Flag(help: "As a JSON array.")
    var json = false

    func run() async throws {
      try await place.with { ring in
        let keys = try await ring.list()
        print(json ? String(decoding: KeyTable.json(keys).serialized, as: UTF8.self) : KeyTable.text(keys))
      }
    }
  }

  struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "revoke", abstract: "End a key for good.",
      discussion: """
        Its next request is refused, and what is being told to its clients is cut within two seconds. Turns that run go \
        on: they are the owner's.
        """)
    @OptionGroup var place: Place
    @Argument(help: "Its name in the list, such as key_0123456789ab.")
    var id: String

    func run() async throws {
      try await place.with { ring in
        guard let key = try await ring.revoke(id) else {
          throw Failure(description: "there is no key '\(id)'; `centaur keys list` shows them")
        }
        print("revoked \(key.id) of the owner '\(key.owner)'")
      }
    }
  }
}
