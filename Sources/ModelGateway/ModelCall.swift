import AsyncHTTPClient
import Logging
import NIOCore
import NIOHTTP1
import SessionModel

/// One call of one sandbox: checked, forwarded, passed back as it comes, counted and written down.
struct ModelCall {
  let sandbox: String
  let grant: GatewayGrant
  let provider: GatewayState.Provider?
  let ledger: SessionLedger
  let audit: AuditLog
  let clock: WallClock
  let logger: Logger

  /// What the audit log says of a call.
  private struct Record {
    var path = ""
    var model: String?
    var status = 0
    var code: String?
    var usage: Usage?
    var isEstimate = false
    var bytesIn = 0
    var bytesOut = 0
    var isCut = false
  }

  /// - Throws: where the answer cannot be brought to its end: the connection must be cut then
  func run(_ request: UnixHTTP.Request, _ answer: UnixHTTP.Answer) async throws {
    KillPoint.reach("gateway.call.begun")
    let begun = ContinuousClock.now
    let time = clock.now
    var record = Record()
    record.path = String(request.uri.prefix { $0 != "?" }.prefix(128))
    record.bytesIn = request.body.readableBytes
    defer { write(record, time, begun.duration(to: .now)) }
    do {
      let (url, path) = try admit(request, &record)
      try await forward(request, url, path, answer, &record)
    } catch let error as CentaurError {
      let refusal = Refusal(error, uri: request.uri)
      record.status = Int(refusal.status.code)
      record.code = error.code.rawValue
      try await answer.send(refusal.status, body: refusal.body.serialized)
    }
  }

  private func admit(
    _ request: UnixHTTP.Request, _ record: inout Record
  ) throws(CentaurError) -> (url: String, path: CallRules.Path) {
    let (path, query) = try CallRules.path(request.method, request.uri)
    guard !request.isTooLong else {
      throw CentaurError(.bodyTooLarge, "The call's body is longer than \(grant.limits.body) bytes.")
    }
    let encoding = request.headers["content-encoding"].filter { $0.lowercased() != "identity" }
    guard encoding.isEmpty else {
      throw CentaurError(.unsupported, "The call's body is compressed; the gateway must read its model.")
    }
    record.model = try CallRules.model(request.body, allowed: grant.models)
    guard let provider else {
      throw CentaurError(.providerUnavailable, "The gateway has no provider '\(grant.provider)'.")
    }
    if path != .countTokens { try ledger.admit(grant.limits) }
    let settings = provider.settings
    let rest = settings.baseIncludesVersion ? path.rawValue.dropFirst("/v1".count) : path.rawValue[...]
    return (settings.baseURL + rest + query, path)
  }

  private func forward(
    _ request: UnixHTTP.Request, _ url: String, _ path: CallRules.Path, _ answer: UnixHTTP.Answer,
    _ record: inout Record
  ) async throws {
    guard let provider else { return }
    var outgoing = HTTPClientRequest(url: url)
    outgoing.method = .POST
    outgoing.headers = CallRules.forwarded(request.headers)
    provider.authorize(&outgoing.headers)
    outgoing.body = .bytes(request.body)
    let incoming: HTTPClientResponse
    do {
      // The whole answer may take as long as it likes; how long it may be silent is the client's own setting.
      incoming = try await provider.client.execute(outgoing, timeout: .hours(24))
    } catch is CancellationError {
      record.isCut = true
      if path != .countTokens { count(nil, &record) }
      throw CancellationError()
    } catch {
      if path != .countTokens, Self.wasSent(error) { count(nil, &record) }
      logger.warning(
        "model call failed",
        metadata: ["session": "\(grant.session)", "provider": "\(grant.provider)", "error": "\(error)"])
      throw CentaurError(.providerUnavailable, "The model's provider cannot be reached.")
    }
    // A provider that sends us elsewhere is not followed: keys and prompts go to the configured address alone.
    guard !(300..<400).contains(incoming.status.code) else {
      throw CentaurError(.providerUnavailable, "The model's provider answered with a redirection.")
    }
    record.status = Int(incoming.status.code)
    var reader = UsageReader(contentType: incoming.headers.first(name: "content-type"))
    defer {
      if record.status < 300, path != .countTokens { count(reader, &record) }
    }
    do {
      try await answer.start(incoming.status, CallRules.answered(incoming.headers))
      for try await piece in incoming.body {
        record.bytesOut += piece.readableBytes
        reader.feed(piece.readableBytesView)
        try await answer.write(piece)
        KillPoint.reach("gateway.call.streaming")
      }
      reader.finish()
      try await answer.end()
      KillPoint.reach("gateway.call.ended")
    } catch {
      record.isCut = !reader.isComplete
      throw Cut()
    }
  }

  /// Not an error that anyone is told of: the connection ends.
  private struct Cut: Error {}

  /// Whether the provider had the call, and may have begun to answer, before it failed.
  private static func wasSent(_ error: any Error) -> Bool {
    let sent: [HTTPClientError] = [.readTimeout, .deadlineExceeded, .remoteConnectionClosed]
    return (error as? HTTPClientError).map(sent.contains) ?? false
  }

  /// - Parameter reader: nil: no answer had begun
  private func count(_ reader: UsageReader?, _ record: inout Record) {
    record.usage = reader?.usage
    // An answer that broke off has cost something too. Four bytes are about a token, and so is an event.
    if record.isCut || reader?.usage == nil {
      record.isEstimate = true
      record.usage = Usage(
        input: reader?.usage?.input ?? record.bytesIn / 4, cachedInput: reader?.usage?.cachedInput ?? 0,
        cacheWrite: reader?.usage?.cacheWrite ?? 0, output: max(reader?.usage?.output ?? 0, reader?.events ?? 0))
    }
    if let usage = record.usage { ledger.add(usage) }
  }

  private func write(_ record: Record, _ time: Timestamp, _ duration: Duration) {
    var line: JSONValue = [
      "time": .string(AuditTime.text(time)), "kind": "model", "session": .string(grant.session.rawValue),
      "sandbox": .string(sandbox), "provider": .string(grant.provider), "model": JSONValue(record.model),
      "path": .string(record.path), "status": JSONValue(record.status), "duration_ms": .int(duration.milliseconds),
      "bytes_in": JSONValue(record.bytesIn), "bytes_out": JSONValue(record.bytesOut),
    ]
    if let usage = record.usage {
      line.set("input_tokens", JSONValue(usage.input))
      line.set("cached_input_tokens", JSONValue(usage.cachedInput))
      line.set("cache_write_input_tokens", JSONValue(usage.cacheWrite))
      line.set("output_tokens", JSONValue(usage.output))
      if record.isEstimate { line.set("estimated", true) }
    }
    if let code = record.code { line.set("refused", .string(code)) }
    if record.isCut { line.set("cut", true) }
    audit.write(line)
  }
}
