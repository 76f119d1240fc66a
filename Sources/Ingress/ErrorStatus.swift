public import HTTPTypes
public import SessionModel

extension CentaurError {
  /// The HTTP status that a program is told; every dialect agrees on it.
  public var status: HTTPResponse.Status {
    switch code {
    case .methodNotAllowed: return .methodNotAllowed
    case .mediaType: return .unsupportedMediaType
    case .requestTimeout: return .requestTimeout
    case .contextWindowExceeded: return .badRequest
    case .providerRateLimit, .providerQuota: return .tooManyRequests
    case .turnTimeLimit, .toolWaitLimit: return .gatewayTimeout
    default: break
    }
    return switch code.category {
    case .invalidRequest: .badRequest
    case .authentication: .unauthorized
    case .forbidden: .forbidden
    case .notFound: .notFound
    case .conflict: .conflict
    case .tooLarge: .contentTooLarge
    case .rateLimited: .tooManyRequests
    case .unavailable: .serviceUnavailable
    case .upstream: .badGateway
    case .internalFailure: .internalServerError
    }
  }

  /// `Retry-After`, in whole seconds, where it is worth coming back.
  public var retryHeaders: HTTPFields {
    guard let retryAfter else { return [:] }
    return [.retryAfter: String(max(1, retryAfter.components.seconds))]
  }

  /// A failed turn, as an error for a client that gets no stream.
  public init(_ failure: ExecutionFailure) {
    let code = CentaurError.Code.named(failure.code)
    self.init(code, failure.message, retryAfter: code == .noFreeSandbox ? CentaurError.noFreeSandboxRetry : nil)
  }

  /// What a caller is told of an error that may not be one of ours: those are for the log.
  public init(caught error: any Error) {
    self =
      error as? CentaurError
      ?? CentaurError(.internalFailure, "The server failed to answer; its log says why.")
  }
}
