public import ControlPlane
import HTTPTypes
public import Hummingbird
public import Ingress
import NIOCore
import Sandbox
import SessionModel

/// Files into and out of a session's workspace, while an agent may work in it.
///
/// A request's body goes to the disk piece by piece. What comes out was made by an agent: it is given as bytes to be
/// saved, never as a page to be shown.
public struct FileRoutes: Sendable {
  private let controlPlane: ControlPlane
  private let limit: Int

  /// - Parameter limit: of a file, in bytes
  public init(controlPlane: ControlPlane, limit: Int) {
    self.controlPlane = controlPlane
    self.limit = limit
  }

  public func add(to router: Router<EdgeRequestContext>) {
    let session = router.group("/api/session/:thread_key")
    for path: RouterPath in ["/files", "/files/**"] {
      session.get(path) { request, context in try await SessionAPIError.respond { try await read(request, context) } }
      session.put(path) { request, context in try await SessionAPIError.respond { try await write(request, context) } }
      session.delete(path) { request, context in
        try await SessionAPIError.respond { try await remove(request, context) }
      }
    }
  }

  /// What follows `/files/` in the request's own bytes: the router drops empty names, and decodes nothing.
  private func path(_ request: Request) throws -> WorkspacePath {
    var rest = request.uri.path[...]
    for _ in ["api", "session", "key", "files"] {
      rest = rest.drop { $0 == "/" }
      rest = rest.drop { $0 != "/" }
    }
    return try WorkspacePath(percentEncoded: rest.dropFirst())
  }

  // MARK: Out

  private func read(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let path = try path(request)
    let files = try await controlPlane.files(owner: context.owner, key: ThreadKey(context), makes: false)
    switch try await files.find(path, limit: limit) {
    case .directory(let entries, let hasMore): return listing(path, entries, hasMore: hasMore)
    case .file(let file): return content(file)
    }
  }

  private func listing(_ path: WorkspacePath, _ entries: [WorkspaceFiles.Entry], hasMore: Bool) -> Response {
    let data = entries.map { entry -> JSONValue in
      [
        "name": .string(entry.name), "type": .string(entry.kind.rawValue), "size": JSONValue(entry.size),
        "modified_at": .string(entry.changedAt.iso8601),
      ]
    }
    return .json([
      "path": .string(path.description), "type": "directory", "data": .array(data), "has_more": .bool(hasMore),
    ])
  }

  private static let piece = 1 << 18

  private func content(_ file: WorkspaceFile) -> Response {
    var headers: HTTPFields = [
      .contentType: "application/octet-stream", .contentDisposition: "attachment", .cacheControl: "no-store",
    ]
    headers[.noSniff] = "nosniff"
    return Response(
      status: .ok, headers: headers,
      body: ResponseBody(contentLength: file.size) { writer in
        var offset = 0
        while offset < file.size {
          let bytes = try await file.read(at: offset, atMost: min(Self.piece, file.size - offset))
          // The agent has cut it short meanwhile. The answer breaks off: a whole one was announced.
          guard !bytes.isEmpty else { throw CutShort() }
          try await writer.write(ByteBuffer(bytes: bytes))
          offset += bytes.count
        }
        try await writer.finish(nil)
      })
  }

  private struct CutShort: Error {}

  // MARK: In

  private func write(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let path = try path(request)
    let announced = request.headers[.contentLength].flatMap(Int.init)
    if let announced, announced > limit {
      throw CentaurError(.fileTooLarge, "The file is larger than this server's limit of \(limit) bytes.")
    }
    let files = try await controlPlane.files(owner: context.owner, key: ThreadKey(context), makes: true)
    var upload = try await files.write(path, limit: limit)
    do {
      for try await buffer in request.body { try await upload.write(Array(buffer.readableBytesView)) }
      // The stream of a client that went away may end like that of one that said all.
      if let announced, upload.size < announced { throw CutShort() }
      try await upload.finish()
    } catch {
      upload.giveUp()
      // What is not ours is the stream's: the client has gone.
      throw error as? CentaurError
        ?? CentaurError(.invalidValue, "The body ended before all that was announced had come.")
    }
    return .json(
      ["path": .string(path.description), "size": JSONValue(upload.size)], status: upload.isNew ? .created : .ok)
  }

  private func remove(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let path = try path(request)
    try await controlPlane.files(owner: context.owner, key: ThreadKey(context), makes: false).remove(path)
    return Response(status: .noContent)
  }
}

extension HTTPField.Name {
  fileprivate static let noSniff = Self("X-Content-Type-Options")!
}
