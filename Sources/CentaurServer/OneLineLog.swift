public import Logging
import SessionModel

/// A log in which an event is one line, whatever a client, a harness or a provider put into it: what is written as text
/// in messages and metadata can neither begin a line that looks like the server's own nor command a terminal.
public struct OneLineLog: LogHandler {
  private var stream: StreamLogHandler

  /// On standard error.
  public init(label: String) { stream = .standardError(label: label) }

  public var logLevel: Logger.Level {
    get { stream.logLevel }
    set { stream.logLevel = newValue }
  }

  public var metadata: Logger.Metadata {
    get { stream.metadata }
    set { stream.metadata = newValue.mapValues(Self.onOneLine) }
  }

  public var metadataProvider: Logger.MetadataProvider? {
    get { stream.metadataProvider }
    set { stream.metadataProvider = newValue }
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { stream[metadataKey: key] }
    set { stream[metadataKey: key] = newValue.map(Self.onOneLine) }
  }

  public func log(event: LogEvent) { stream.log(event: Self.onOneLine(event)) }

  static func onOneLine(_ event: LogEvent) -> LogEvent {
    var event = event
    event.message = "\(event.message.description.onOneLine)"
    event.metadata = event.metadata?.mapValues(onOneLine)
    if let error = event.error {
      event.error = nil
      event.metadata = (event.metadata ?? [:]).merging(["error": .string("\(error)".onOneLine)]) { said, _ in said }
    }
    return event
  }

  /// Also what is nested: it is written by its description, with whatever that holds.
  private static func onOneLine(_ value: Logger.Metadata.Value) -> Logger.Metadata.Value {
    .string(value.description.onOneLine)
  }
}
