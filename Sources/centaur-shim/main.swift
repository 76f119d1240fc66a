import Glibc

// `centaur-shim run …` keeps one harness; `centaur-shim forward …` carries loopback connections to a Unix socket.

let usage = """
  usage: centaur-shim run --dir DIR [--cwd DIR] [--orphan-after SECONDS] -- COMMAND [ARGUMENT…]
         centaur-shim forward --listen 127.0.0.1:PORT --to SOCKET
         centaur-shim --version
  """

func fail(_ message: String) -> Never {
  _ = Descriptors.writeAll(2, Array("centaur-shim: \(message)\n".utf8))
  exit(64)
}

var arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case "run":
  guard let options = RunOptions(arguments.dropFirst()) else { fail(usage) }
  var shim = Shim(options)
  shim.run()
case "forward":
  guard let options = ForwardOptions(arguments.dropFirst()) else { fail(usage) }
  Forwarder(options).run()
case "--version": print("centaur-shim 1")
default: fail(usage)
}
