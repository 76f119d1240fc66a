/// An error that a caller is told about: a stable code, a sentence for a person, and nothing that leaks.
///
/// It knows no dialect; each ingress maps it at the edge. `docs/errors.md` lists every code.
public struct CentaurError: Error, Sendable, Hashable, Codable, CustomStringConvertible {
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    public let rawValue: String
    /// What kind of failure it is; a dialect derives its status from it.
    public let category: Category
    public var description: String { rawValue }

    public init(_ rawValue: String, _ category: Category) {
      self.rawValue = rawValue
      self.category = category
    }
  }

  public enum Category: Sendable, Hashable {
    /// The caller's request is wrong and will be wrong again.
    case invalidRequest
    case authentication
    /// Known, and not allowed.
    case forbidden
    case notFound
    case conflict
    case tooLarge
    /// The caller does too much; it may come back after `retryAfter`.
    case rateLimited
    /// This server cannot now; it may after `retryAfter`.
    case unavailable
    /// The harness or its provider failed.
    case upstream
    /// Ours.
    case internalFailure
  }

  public let code: Code
  /// One or two sentences for the person at the other end.
  public let message: String
  /// The request's field that is at fault, as a path (`input[0].content`).
  public let parameter: String?
  /// When it is worth coming back.
  public let retryAfter: Duration?

  public init(_ code: Code, _ message: String, parameter: String? = nil, retryAfter: Duration? = nil) {
    self.code = code
    self.message = message
    self.parameter = parameter
    self.retryAfter = retryAfter
  }

  public var description: String { "\(code): \(message)" }
}

extension CentaurError {
  /// A turn found no sandbox in its time. Nothing of it was run, and the same request may come again.
  public static func noFreeSandbox(after wait: Duration) -> CentaurError {
    CentaurError(
      .noFreeSandbox, "All sandboxes of this server were at work for \(wait). Try again shortly.",
      retryAfter: noFreeSandboxRetry)
  }

  /// There is none of this id, or none that whoever asks may see: the two are told alike.
  public static func responseNotFound(_ id: String) -> CentaurError {
    CentaurError(
      .responseNotFound, "There is no response with the id '\(id.prefix(128))'.", parameter: "response_id")
  }

  public static let shuttingDown = CentaurError(
    .shuttingDown, "The server is shutting down. Try again shortly.", retryAfter: .seconds(2))

  /// The store refused to be read or written: nothing was changed, and the disk may be well again in a moment.
  public static func storeRefused(_ message: String) -> CentaurError {
    CentaurError(.storeUnavailable, message, retryAfter: .seconds(2))
  }

  /// When it is worth coming back after `noFreeSandbox`.
  public static let noFreeSandboxRetry = Duration.seconds(5)
}

extension CentaurError.Code {
  public static let malformedRequest = Self("malformed_request", .invalidRequest)
  public static let invalidJSON = Self("invalid_json", .invalidRequest)
  public static let mediaType = Self("unsupported_media_type", .invalidRequest)
  public static let requestTimeout = Self("request_timeout", .invalidRequest)
  public static let invalidType = Self("invalid_type", .invalidRequest)
  public static let missingField = Self("missing_field", .invalidRequest)
  public static let invalidValue = Self("invalid_value", .invalidRequest)
  public static let emptyInput = Self("empty_input", .invalidRequest)
  public static let unsupported = Self("unsupported", .invalidRequest)
  public static let threadKeyTooLong = Self("thread_key_too_long", .invalidRequest)
  public static let threadKeyMalformed = Self("thread_key_malformed", .invalidRequest)
  public static let unknownHarness = Self("unknown_harness", .invalidRequest)
  public static let unknownPersona = Self("unknown_persona", .invalidRequest)
  public static let bodyTooLarge = Self("body_too_large", .tooLarge)
  public static let keyMissing = Self("key_missing", .authentication)
  public static let keyRefused = Self("key_refused", .authentication)
  public static let keyRequestLimit = Self("key_request_limit", .rateLimited)
  public static let keyTurnLimit = Self("key_turn_limit", .rateLimited)
  public static let foreignOrigin = Self("foreign_origin", .forbidden)
  public static let sessionNotFound = Self("session_not_found", .notFound)
  public static let previousResponseNotFound = Self("previous_response_not_found", .notFound)
  public static let responseNotFound = Self("response_not_found", .notFound)
  public static let conversationNotFound = Self("conversation_not_found", .notFound)
  public static let itemNotFound = Self("item_not_found", .notFound)
  public static let mutuallyExclusive = Self("mutually_exclusive_parameters", .invalidRequest)
  public static let executionNotFound = Self("execution_not_found", .notFound)
  public static let modelNotFound = Self("model_not_found", .notFound)
  public static let routeNotFound = Self("not_found", .notFound)
  public static let methodNotAllowed = Self("method_not_allowed", .invalidRequest)
  public static let harnessConflict = Self("harness_conflict", .conflict)
  public static let personaConflict = Self("persona_conflict", .conflict)
  public static let instructionsConflict = Self("instructions_conflict", .conflict)
  public static let idempotencyConflict = Self("idempotency_conflict", .conflict)
  public static let sessionBusy = Self("session_busy", .conflict)
  /// No call of this id was ever asked.
  public static let unknownCall = Self("unknown_call", .invalidRequest)
  /// The call was answered with something else, or its turn is over.
  public static let callClosed = Self("call_closed", .conflict)
  public static let inputTooLong = Self("input_too_long", .invalidRequest)
  public static let tooManyTools = Self("too_many_tools", .invalidRequest)
  public static let toolsTooLarge = Self("tools_too_large", .invalidRequest)
  public static let keptLimit = Self("kept_limit", .tooLarge)
  public static let toolWaitLimit = Self("tool_wait_limit", .upstream)
  public static let nothingRunning = Self("nothing_running", .conflict)
  public static let sessionArchived = Self("session_archived", .conflict)
  public static let leaseLost = Self("lease_lost", .conflict)
  public static let invalidStreamID = Self("invalid_stream_id", .invalidRequest)
  public static let socketStreams = Self("websocket_stream_limit_reached", .invalidRequest)
  public static let socketAge = Self("websocket_connection_limit_reached", .invalidRequest)
  public static let socketQueue = Self("websocket_queue_full", .rateLimited)
  public static let sessionElsewhere = Self("session_elsewhere", .unavailable)
  public static let tooManyConnections = Self("too_many_connections", .unavailable)
  public static let tooManyTurns = Self("too_many_turns", .unavailable)
  public static let noFreeSandbox = Self("no_free_sandbox", .unavailable)
  public static let shuttingDown = Self("shutting_down", .unavailable)
  public static let turnCancelled = Self("turn_cancelled", .conflict)
  public static let turnTimeLimit = Self("turn_time_limit", .upstream)
  public static let turnOutputLimit = Self("turn_output_limit", .upstream)
  public static let spoolFailed = Self("spool_failed", .upstream)
  public static let harnessStart = Self("harness_start_failed", .upstream)
  public static let harnessDied = Self("harness_died", .upstream)
  public static let sandboxVersion = Self("sandbox_version", .unavailable)
  public static let sandboxLost = Self("sandbox_lost", .upstream)
  public static let sandboxMemory = Self("sandbox_memory", .upstream)
  public static let sandboxProcesses = Self("sandbox_processes", .upstream)
  public static let sandboxDisk = Self("sandbox_disk", .upstream)
  public static let harnessLineTooLong = Self("harness_line_too_long", .upstream)
  public static let harnessProtocol = Self("harness_protocol", .upstream)
  public static let providerAuthentication = Self("provider_authentication", .upstream)
  public static let providerRateLimit = Self("provider_rate_limit", .upstream)
  public static let providerQuota = Self("provider_quota", .upstream)
  public static let providerInvalidRequest = Self("provider_invalid_request", .upstream)
  public static let providerUnavailable = Self("provider_unavailable", .upstream)
  public static let providerStreamCut = Self("provider_stream_cut", .upstream)
  public static let contextWindowExceeded = Self("context_window_exceeded", .upstream)
  public static let workspaceFailed = Self("workspace_failed", .upstream)
  public static let filePathInvalid = Self("file_path_invalid", .invalidRequest)
  public static let fileNotFound = Self("file_not_found", .notFound)
  public static let fileOutside = Self("file_outside_workspace", .forbidden)
  public static let fileRefused = Self("file_refused", .forbidden)
  public static let fileConflict = Self("file_conflict", .conflict)
  public static let fileTooLarge = Self("file_too_large", .tooLarge)
  public static let fileFailed = Self("file_failed", .unavailable)
  public static let callNotAllowed = Self("model_call_not_allowed", .forbidden)
  public static let modelNotAllowed = Self("model_not_allowed", .forbidden)
  public static let tooManyCalls = Self("too_many_model_calls", .rateLimited)
  public static let sessionTokenLimit = Self("session_token_limit", .forbidden)
  public static let sessionRequestLimit = Self("session_request_limit", .forbidden)
  public static let serverRestarted = Self("server_restarted", .unavailable)
  public static let storeUnavailable = Self("store_unavailable", .unavailable)
  public static let storeCorrupt = Self("store_corrupt", .internalFailure)
  public static let internalFailure = Self("internal_error", .internalFailure)

  /// Every code, for whoever reads one from the log.
  public static let all: [Self] = [
    .malformedRequest, .invalidJSON, .mediaType, .requestTimeout, .invalidType, .missingField, .invalidValue,
    .emptyInput, .unsupported, .mutuallyExclusive, .threadKeyTooLong, .threadKeyMalformed,
    .unknownHarness, .unknownPersona, .bodyTooLarge, .foreignOrigin, .sessionNotFound,
    .previousResponseNotFound, .responseNotFound, .conversationNotFound, .itemNotFound, .executionNotFound,
    .modelNotFound, .routeNotFound, .methodNotAllowed,
    .harnessConflict,
    .personaConflict, .instructionsConflict, .idempotencyConflict, .sessionBusy, .nothingRunning,
    .unknownCall, .callClosed, .inputTooLong, .tooManyTools, .toolsTooLarge, .keptLimit, .toolWaitLimit,
    .leaseLost, .sessionElsewhere, .tooManyTurns, .noFreeSandbox, .shuttingDown, .turnCancelled, .turnTimeLimit,
    .turnOutputLimit, .spoolFailed, .tooManyConnections,
    .harnessStart, .harnessDied, .sandboxVersion, .sandboxLost, .sandboxMemory, .sandboxProcesses, .sandboxDisk,
    .harnessLineTooLong,
    .harnessProtocol,
    .providerAuthentication, .providerRateLimit, .providerQuota, .providerInvalidRequest,
    .providerUnavailable, .providerStreamCut, .contextWindowExceeded,
    .callNotAllowed, .modelNotAllowed, .tooManyCalls, .sessionTokenLimit, .sessionRequestLimit, .serverRestarted,
    .storeUnavailable, .storeCorrupt, .internalFailure,
    .workspaceFailed, .sessionArchived, .filePathInvalid, .fileNotFound, .fileOutside, .fileRefused, .fileConflict,
    .fileTooLarge, .fileFailed, .invalidStreamID, .socketStreams, .socketAge, .socketQueue,
    .keyMissing, .keyRefused, .keyRequestLimit, .keyTurnLimit,
  ]

  /// The code with this name; one that this version does not know counts as ours.
  public static func named(_ rawValue: String) -> Self {
    all.first { $0.rawValue == rawValue } ?? Self(rawValue, .internalFailure)
  }
}
