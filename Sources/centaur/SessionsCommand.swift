import ArgumentParser
import CentaurServer
import FoundationEssentials
import SessionModel

/// `centaur sessions`: looks after the sessions of a running server.
struct SessionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sessions", abstract: "List, show, archive and remove sessions.",
    discussion: """
      It asks a running server, at --server or where `centaur serve` of the same settings listens. Where that wants a \
      key, CENTAUR_KEY has it; the sessions are its owner's.
      """,
    subcommands: [List.self, Show.self, Archive.self, Remove.self])

  /// Which server is asked.
  struct Place: ParsableArguments {
    @Option(help: ArgumentHelp("The server's URL.", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("The server's configuration file, which says where it listens.", valueName: "file"))
    var config: String?

    /// Runs `body` with the server, and says in one sentence what went wrong.
    func ask(_ body: (SessionClient) async throws -> Void) async throws {
      do {
        let key = ProcessInfo.processInfo.environment["CENTAUR_KEY"]
        try await body(SessionClient(server: try url(), key: key.flatMap { $0.isEmpty ? nil : $0 }))
      } catch let error as SessionClientError where error.code == CentaurError.Code.keyMissing.rawValue {
        throw Failure(description: "the server wants a key: put one of the sessions' owner into CENTAUR_KEY")
      } catch let error as SessionClientError {
        throw Failure(description: error.description)
      } catch let error as CentaurError {
        throw Failure(description: error.message)
      } catch let error as ConfigurationError {
        throw error.refusal()
      }
    }

    private func url() throws -> String {
      if let server {
        guard server.hasPrefix("http://") || server.hasPrefix("https://") else {
          throw ConfigurationError("--server must begin with http:// or https://")
        }
        return server
      }
      let settings = try ServerConfiguration(
        file: config, listen: nil, data: nil, environment: ProcessInfo.processInfo.environment)
      return "http://\(settings.listen)"
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List sessions, newest first.")
    @OptionGroup var place: Place
    @Flag(help: "Those that are archived, rather than those that are not.")
    var archived = false
    @Flag(help: "As a JSON array.")
    var json = false

    func run() async throws {
      try await place.ask { client in
        let status = archived ? "archived" : "active"
        let sessions = try await client.sessions().filter { $0["status"]?.string == status }
        print(json ? text(.array(sessions)) : SessionTable.text(sessions))
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one session.")
    @OptionGroup var place: Place
    @Argument(help: "Its thread key.")
    var key: String
    @Flag(help: "As a JSON object.")
    var json = false

    func run() async throws {
      try await place.ask { client in
        let session = try await client.session(ThreadKey(key))
        print(json ? text(session) : SessionTable.details(session))
      }
    }
  }

  /// A session that is to end, and how.
  struct Ended: ParsableArguments {
    @OptionGroup var place: Place
    @Argument(help: "Its thread key.")
    var key: String
    @Flag(help: "End its turns, rather than refuse while one runs.")
    var force = false
  }

  struct Archive: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "archive", abstract: "Put a session to rest.",
      discussion: "Its process ends; its log and its files stay. Whoever uses it brings it back.")
    @OptionGroup var session: Ended

    func run() async throws {
      try await session.place.ask { client in
        _ = try await client.archive(ThreadKey(session.key), force: session.force)
        print("archived \(session.key)")
      }
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove", abstract: "Archive a session and remove its files.",
      discussion: "Its process ends; its workspace and its harness's files go. Its log stays.")
    @OptionGroup var session: Ended

    func run() async throws {
      try await session.place.ask { client in
        _ = try await client.remove(ThreadKey(session.key), force: session.force)
        print("removed the files of \(session.key)")
      }
    }
  }
}

private func text(_ value: JSONValue) -> String { String(decoding: value.serialized, as: UTF8.self) }
