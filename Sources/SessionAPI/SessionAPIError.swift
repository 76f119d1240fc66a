import Ingress
public import Hummingbird
public import SessionModel

/// How the session API says that something went wrong: a status and `{"error":{"code","message","param"}}`.
public enum SessionAPIError {
  public static func response(_ error: CentaurError) -> Response {
    .json(
      [
        "error": [
          "code": .string(error.code.rawValue), "message": .string(error.message), "param": JSONValue(error.parameter),
        ]
      ], status: error.status, headers: error.retryHeaders)
  }

  /// The answer that `body` makes, or the error that it throws.
  static func respond(_ body: () async throws -> Response) async throws -> Response {
    do {
      return try await body()
    } catch let error as CentaurError {
      return response(error)
    }
  }
}
