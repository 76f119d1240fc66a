import CShimSystem
import Glibc
import ShimProtocol

/// Keeps one harness: spools what it prints, gives it each input once, and outlives the servers that come and go.
///
/// One thread, one `poll`. The order that holds: output is in the spool before a server is sent it; an input's id is in
/// the file `inputs` before the harness is given its bytes; the harness's end is told after all of its output.
struct Shim {
  private let options: RunOptions
  private var spool: Spool
  private var errorLog: ErrorLog
  private var child: HarnessChild?
  private var exit: ShimExit?
  private var connections: [Connection] = []
  /// Of all that have attached so far: an older server is none any more, also while the newer one is away.
  private var newestFence = Int64.min
  private var taken: Set<String> = []
  private var takenInOrder: [String] = []
  private var inputFile: Int32 = -1
  private var input: [UInt8] = []
  private var inputPosition = 0
  private var closesInput = false
  private var listener: Int32 = -1
  private var signals: Int32 = -1
  /// The harness itself, once it is known.
  private var kept: Set<Descendants.Process>?
  private var carriers: Set<Descendants.Process> = []
  private var lastSeenServer = Descriptors.now
  private var hasHadServer = false
  /// When the next, harsher step of stopping is due; nil while nobody wants an end.
  private var stopping: (step: Int, due: Int64)?
  /// The shim ends when all has ended. Else it stays, for what the spool holds and to tell of the end.
  private var isToEnd = false
  /// The harness ended while the shim meant to go on: that is told. Where the shim ends, its connections' end tells it.
  private var tellsExit = false

  init(_ options: RunOptions) {
    self.options = options
    guard chdir(options.directory) == 0 else { fail("cannot enter \(options.directory)") }
    // Everything below is relative to the directory: a socket's path may have no more than 107 bytes.
    spool = Spool(directory: "spool", limit: options.spoolLimit)
    errorLog = ErrorLog(path: "stderr")
  }

  mutating func run() {
    _ = centaur_become_subreaper()
    signals = centaur_signal_descriptor()
    listen()
    inputFile = open("inputs", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    Descriptors.writeFile("pid", "\(getpid())\n")
    switch HarnessChild.start(options.command, cwd: options.cwd) {
    case .success(let started): child = started
    case .failure(let error):
      errorLog.append(Array("\(options.command[0]): \(error.text)\n".utf8))
      ended(status: 127, signal: nil)
    }
    while step() {}
    unlink("socket")
  }

  private mutating func listen() {
    unlink("socket")
    listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    Descriptors.setNonBlocking(listener)
    // The name appears only once connections are taken.
    guard let temporary = Descriptors.unixAddress("socket.new") else { fail("cannot name the socket") }
    unlink("socket.new")
    _ = umask(0o177)
    let isBound = Descriptors.withAddress(temporary) { bind(listener, $0, $1) } == 0
    _ = umask(0o077)
    guard isBound, Glibc.listen(listener, 16) == 0, rename("socket.new", "socket") == 0 else {
      fail("cannot listen in \(options.directory)")
    }
  }

  // MARK: The loop

  private enum Source {
    case signals
    case listener
    case output
    case errors
    case input
    case connection(Int32)
  }

  /// - Returns: false when the shim's work is done.
  private mutating func step() -> Bool {
    var polled: [pollfd] = []
    var sources: [Source] = []
    func add(_ descriptor: Int32, _ events: Int32, _ source: Source) {
      polled.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
      sources.append(source)
    }
    add(signals, POLLIN, .signals)
    add(listener, POLLIN, .listener)
    if let child {
      // What is not read stays in the pipe, and the harness waits.
      if child.output >= 0, spool.room > 0, !spool.isBroken { add(child.output, POLLIN, .output) }
      if child.errors >= 0 { add(child.errors, POLLIN, .errors) }
      if child.input >= 0, inputPosition < input.count { add(child.input, POLLOUT, .input) }
    }
    for connection in connections {
      // One that took all that it was given waits for the rest of the spool, of which nothing else reminds this loop.
      let isBehind = connection.fence != nil && connection.offset < spool.end
      add(
        connection.descriptor, POLLIN | (connection.hasPending || isBehind ? POLLOUT : 0),
        .connection(connection.descriptor))
    }
    let ready = poll(&polled, nfds_t(polled.count), timeout)
    if ready > 0 {
      for (polled, source) in zip(polled, sources) where polled.revents != 0 {
        handle(source, readable: polled.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0)
      }
    }
    feedConnections()
    return advanceTime()
  }

  private var timeout: Int32 {
    var due = lastSeenServer + orphanAfter
    if let stopping { due = min(due, stopping.due) }
    if exit == nil, child?.output == -1 { due = min(due, Descriptors.now + 50) }
    return Int32(clamping: max(0, due - Descriptors.now))
  }

  private mutating func handle(_ source: Source, readable: Bool) {
    switch source {
    case .signals: handleSignals()
    case .listener: accept()
    case .output: readOutput(upTo: min(Self.readSize, spool.room))
    case .errors: readErrors()
    case .input: writeInput()
    case .connection(let descriptor): if readable { read(descriptor) }
    }
  }

  private mutating func handleSignals() {
    guard case .bytes(let numbers) = Descriptors.read(signals, upTo: 64) else { return }
    if numbers.contains(where: { Int32($0) != SIGCHLD }) { stop() }
    reap()
  }

  private mutating func reap() {
    while true {
      var status: Int32 = 0
      let pid = waitpid(-1, &status, WNOHANG)
      guard pid > 0 else { return }
      guard pid == child?.pid, exit == nil else { continue }
      let signal = status & 0x7F
      ended(status: signal == 0 ? (status >> 8) & 0xFF : nil, signal: signal == 0 ? nil : signal)
    }
  }

  /// What the harness printed before it ended is still in its pipes. What it left behind may hold them open, and print
  /// on without end: that ends first, and no more is read than a pipe holds.
  private mutating func ended(status: Int32?, signal: Int32?) {
    Descendants.kill(Descendants.all)
    var reads = 0
    while reads < Self.readsOfAFullPipe, readOutput(upTo: Self.readSize) { reads += 1 }
    reads = 0
    while reads < Self.readsOfAFullPipe, readErrors() { reads += 1 }
    closeOutput()
    closeInput()
    exit = ShimExit(
      status: status, signal: signal, stderrTail: errorLog.tail(), lostOutput: spool.isBroken)
    tellsExit = !isToEnd
    Descriptors.writeFile("exit", status.map { "{\"status\":\($0)}\n" } ?? "{\"signal\":\(signal ?? 0)}\n")
  }

  /// A pipe holds at most 1 MiB (`/proc/sys/fs/pipe-max-size`). A harness that has ended is not made to wait: by so much
  /// the spool may go over its limit.
  private static let readsOfAFullPipe = 16
  private static let readSize = 64 << 10

  // MARK: The harness

  @discardableResult
  private mutating func readOutput(upTo size: Int) -> Bool {
    guard let descriptor = child?.output, descriptor >= 0, size > 0, !spool.isBroken else { return false }
    switch Descriptors.read(descriptor, upTo: size) {
    case .bytes(let bytes):
      reachKillPoint("spool.before")
      guard spool.append(bytes) else {
        // A harness whose words cannot be kept must not go on.
        errorLog.append(Array("centaur-shim: the spool cannot be written\n".utf8))
        endHarness()
        return false
      }
      reachKillPoint("spool.after")
      return true
    case .wouldBlock: return false
    case .end:
      close(descriptor)
      child?.output = -1
      return false
    }
  }

  @discardableResult
  private mutating func readErrors() -> Bool {
    guard let descriptor = child?.errors, descriptor >= 0 else { return false }
    switch Descriptors.read(descriptor, upTo: 64 << 10) {
    case .bytes(let bytes):
      errorLog.append(bytes)
      return true
    case .wouldBlock: return false
    case .end:
      close(descriptor)
      child?.errors = -1
      return false
    }
  }

  private mutating func closeOutput() {
    for case let descriptor? in [child?.output, child?.errors] where descriptor >= 0 { close(descriptor) }
    child?.output = -1
    child?.errors = -1
  }

  /// - Returns: false where the input is not for the harness any more.
  private mutating func take(_ id: String, _ bytes: [UInt8], closes: Bool) -> Bool {
    guard taken.insert(id).inserted else { return true }
    takenInOrder.append(id)
    guard Descriptors.writeAll(inputFile, Array((id + "\n").utf8)) else {
      // Given to the harness without it, nobody could tell later that it was.
      errorLog.append(Array("centaur-shim: the inputs cannot be written down\n".utf8))
      stop()
      return false
    }
    reachKillPoint("input.taken")
    input.append(contentsOf: bytes)
    closesInput = closesInput || closes
    writeInput()
    reachKillPoint("input.given")
    return true
  }

  private mutating func writeInput() {
    guard let descriptor = child?.input, descriptor >= 0 else { return }
    while inputPosition < input.count {
      guard let count = Descriptors.write(descriptor, input[inputPosition...]) else { return closeInput() }
      if count == 0 { return }
      inputPosition += count
    }
    input.removeAll(keepingCapacity: input.count < 1 << 20)
    inputPosition = 0
    if closesInput { closeInput() }
  }

  private mutating func closeInput() {
    guard let descriptor = child?.input, descriptor >= 0 else { return }
    close(descriptor)
    child?.input = -1
  }

  // MARK: Servers

  private mutating func accept() {
    let descriptor = Glibc.accept(listener, nil, nil)
    guard descriptor >= 0 else { return }
    Descriptors.setNonBlocking(descriptor)
    var connection = Connection(descriptor: descriptor)
    connection.send(
      .hello(
        ShimHello(
          shimPID: getpid(), harnessPID: child?.pid ?? 0, spoolStart: spool.start, spoolEnd: spool.end,
          takenInputIDs: takenInOrder)))
    connections.append(connection)
  }

  private mutating func read(_ descriptor: Int32) {
    guard let index = connections.firstIndex(where: { $0.descriptor == descriptor }) else { return }
    switch Descriptors.read(descriptor, upTo: 256 << 10) {
    case .bytes(let bytes): connections[index].decoder.append(bytes)
    case .wouldBlock: return
    case .end: return drop(descriptor)
    }
    do {
      while let index = connections.firstIndex(where: { $0.descriptor == descriptor }),
        let frame = try connections[index].decoder.nextServerFrame()
      { handle(frame, from: index) }
    } catch { drop(descriptor) }
  }

  private mutating func handle(_ frame: ServerFrame, from index: Int) {
    if case .attach(let fence, let offset) = frame { return attach(index, fence, offset) }
    // Whoever has not attached, or was refused, has nothing to say.
    guard connections[index].fence != nil else { return }
    switch frame {
    case .attach: return
    case .input(let id, let bytes, let closes):
      if take(id, bytes, closes: closes) { connections[index].send(.accepted(id: id)) }
    case .signal(let number):
      guard let child, exit == nil else { return }
      kill(-child.pid, number)
    case .keep:
      // Once: later there may be more than the harness, and another server repeats it.
      guard kept == nil else { return }
      kept = Descendants.all
      carriers = kept?.filter(Descendants.isCarrier) ?? []
    case .sweep:
      // Where a turn has ended the way to the gateway, or something of it cannot be ended, nothing here is of use.
      guard let kept, exit == nil, !Descendants.end(butFor: kept) || !carriers.isSubset(of: Descendants.all) else {
        connections[index].send(.swept)
        return
      }
      stop()
      // Its server must not give it another turn meanwhile.
      drop(connections[index].descriptor)
    case .release(let offset): spool.release(before: offset)
    case .stop: stop()
    }
  }

  private mutating func attach(_ index: Int, _ fence: Int64, _ offset: Int64) {
    guard fence >= newestFence else {
      connections[index].fence = nil
      connections[index].send(.refused(reason: "a newer server has attached"))
      return
    }
    newestFence = fence
    connections[index].fence = fence
    connections[index].offset = max(offset, spool.start)
    let descriptor = connections[index].descriptor
    for rival in connections where rival.descriptor != descriptor && rival.fence != nil { drop(rival.descriptor) }
  }

  private mutating func feedConnections() {
    var gone: Set<Int32> = []
    for index in connections.indices {
      if connections[index].fence != nil {
        lastSeenServer = Descriptors.now
        hasHadServer = true
        // What was released is stored elsewhere.
        connections[index].offset = max(connections[index].offset, spool.start)
        while !connections[index].isFull, connections[index].offset < spool.end {
          let bytes = spool.read(at: connections[index].offset, upTo: 64 << 10)
          guard !bytes.isEmpty else {
            gone.insert(connections[index].descriptor)
            break
          }
          connections[index].send(.output(offset: connections[index].offset, bytes: bytes))
          connections[index].offset += Int64(bytes.count)
        }
        if let exit, tellsExit, !connections[index].exitSent, connections[index].offset >= spool.end {
          connections[index].exitSent = true
          connections[index].send(.exited(exit))
        }
      }
      if !connections[index].flush() { gone.insert(connections[index].descriptor) }
    }
    for descriptor in gone { drop(descriptor) }
  }

  private mutating func drop(_ descriptor: Int32) {
    close(descriptor)
    connections.removeAll { $0.descriptor == descriptor }
  }

  // MARK: The end

  /// How long each step of stopping may take, in milliseconds: the end of its input, SIGTERM, SIGKILL to all.
  private static let patience: [Int64] = [300, 2000, 5000]

  /// How long it goes on without a server, in milliseconds. One that its server did not live to reach is in no journal:
  /// nobody will come.
  private var orphanAfter: Int64 { (hasHadServer ? options.orphanAfter : min(60, options.orphanAfter)) * 1000 }

  private mutating func stop() {
    isToEnd = true
    endHarness()
  }

  private mutating func endHarness() {
    guard stopping == nil else { return }
    closeInput()
    stopping = (0, Descriptors.now + Self.patience[0])
  }

  private mutating func advanceTime() -> Bool {
    let now = Descriptors.now
    if !isToEnd, now - lastSeenServer >= orphanAfter { stop() }
    if exit == nil, child?.output == -1 { reap() }
    guard let stopping else { return true }
    if exit != nil {
      let left = Descendants.all
      Descendants.kill(left)
      if left.isEmpty {
        self.stopping = nil
        return !isToEnd
      }
      self.stopping = (stopping.step, now + 20)
      return true
    }
    guard now >= stopping.due, let child else { return true }
    if stopping.step > 0 { Descendants.kill(Descendants.all) }
    kill(-child.pid, stopping.step == 0 ? SIGTERM : SIGKILL)
    let next = min(stopping.step + 1, Self.patience.count - 1)
    self.stopping = (next, now + Self.patience[next])
    return true
  }
}
