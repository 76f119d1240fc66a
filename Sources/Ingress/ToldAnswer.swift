public import ControlPlane
public import Hummingbird

extension Response {
  /// The same, noted as told once all of it was written: a retry of its request is owed another answer then.
  public func telling(_ turn: AdmittedTurn) -> Response {
    guard let requestTry = turn.requestTry else { return self }
    let body = body
    var response = self
    response.body = ResponseBody(contentLength: body.contentLength) { writer in
      try await body.write(writer)
      requestTry.isTold()
    }
    return response
  }
}
