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
}
