import Glibc

// `run` keeps one harness. `confine` and `forward` each do one thing to themselves and become the next program of the
// line; `carry` is what `forward` leaves behind.

let usage = """
  usage: centaur-shim run --dir DIR [--cwd DIR] [--orphan-after SECONDS] [--spool-limit BYTES] -- COMMAND [ARGUMENT…]
         centaur-shim confine [--group DIR]… [--limit NAME=N]… [--signals ignored|standard] -- COMMAND [ARGUMENT…]
         centaur-shim forward --to PLACEHOLDER=SOCKET… -- COMMAND [ARGUMENT…]
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
  Doorway(options).enter()
case "carry":
  guard arguments.count == 2 else { fail(usage) }
  var forwarder = Forwarder(to: arguments[1])
  forwarder.run()
case "confine":
  guard let options = ConfineOptions(arguments.dropFirst()) else { fail(usage) }
  Confinement(options).enter()
case "--version": print("centaur-shim 1")
default: fail(usage)
}
