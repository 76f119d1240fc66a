/// What a server says to a shim. Frames are length-prefixed (`FrameCodec`); the shim speaks first, with its hello.
public enum ServerFrame: Sendable, Hashable {
  /// Send the harness's output from this offset on. A newer or equal fence takes the place of whoever is attached; an
  /// older one than any before is refused. Nothing else is heeded from a connection that is not attached.
  case attach(fence: Int64, offset: Int64)
  /// For the harness's standard input. An id is delivered once, and acknowledged always.
  case input(id: String, bytes: [UInt8], closesInput: Bool)
  /// A signal for the harness's process group.
  case signal(Int32)
  /// Output before this offset is stored elsewhere: the spool may forget it.
  case release(offset: Int64)
  /// What runs now is the harness itself, with what it needs. The first one counts.
  case keep
  /// End whatever runs beside that: what a turn has started does not outlive it.
  case sweep
  /// End the harness with all that it started, and yourself.
  case stop
}

/// What a shim says to its server.
public enum ShimFrame: Sendable, Hashable {
  case hello(ShimHello)
  case output(offset: Int64, bytes: [UInt8])
  case accepted(id: String)
  /// What a turn has started is gone.
  case swept
  /// The harness has ended; all of its output was sent before this.
  case exited(ShimExit)
  /// The connection is of no use: an older fence, an unknown version.
  case refused(reason: String)
}

public struct ShimHello: Sendable, Hashable {
  /// Of the protocol; both ends must speak the same.
  public static let currentVersion: Int32 = 1

  public var version: Int32
  public var shimPID: Int32
  /// 0 where the harness could not be started.
  public var harnessPID: Int32
  /// The range of output that the spool holds, in bytes.
  public var spoolStart: Int64
  public var spoolEnd: Int64
  public var takenInputIDs: [String]

  public init(
    version: Int32 = Self.currentVersion, shimPID: Int32, harnessPID: Int32, spoolStart: Int64, spoolEnd: Int64,
    takenInputIDs: [String]
  ) {
    self.version = version
    self.shimPID = shimPID
    self.harnessPID = harnessPID
    self.spoolStart = spoolStart
    self.spoolEnd = spoolEnd
    self.takenInputIDs = takenInputIDs
  }
}

/// How a harness ended: by itself with a status, or by a signal.
public struct ShimExit: Sendable, Hashable {
  public var status: Int32?
  public var signal: Int32?
  /// The end of its standard error.
  public var stderrTail: String
  /// The spool's disk took no more, so the harness was ended; what it printed from there on is lost.
  public var lostOutput: Bool

  public init(status: Int32?, signal: Int32?, stderrTail: String, lostOutput: Bool = false) {
    self.status = status
    self.signal = signal
    self.stderrTail = stderrTail
    self.lostOutput = lostOutput
  }
}

/// Bytes that are no frame: the connection cannot go on.
public struct ShimFrameError: Error, Sendable, Hashable {
  public let reason: String
}
