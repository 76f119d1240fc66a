import Ingress
import SessionModel

extension NotHonoured {
  /// Of a request to `/v1/responses`.
  init(responses body: JSONValue) {
    self.init()
    for (name, usual) in [
      ("temperature", 1.0), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0), ("top_logprobs", 0),
    ] {
      note(name, if: body[name]?.double.map { $0 != usual } ?? false)
    }
    // The specification's default is not asked for by who says nothing.
    note("truncation", if: body["truncation"]?.string == "disabled")
    note("tool_choice", if: Self.forcesTool(body["tool_choice"]))
    note("text.verbosity", if: body["text"]?["verbosity"]?.string != nil)
    let includes = (body["include"]?.array ?? []).compactMap(\.string)
    for name in includes where name == "message.output_text.logprobs" || name == "reasoning.encrypted_content" {
      note("include \(name)")
    }
  }

  /// A tool that must be called; that none may be is honoured.
  private static func forcesTool(_ choice: JSONValue?) -> Bool {
    switch choice {
    case .string(let mode)?: mode == "required"
    case .object?: choice?["type"]?.string != "allowed_tools" || choice?["mode"]?.string == "required"
    default: false
    }
  }
}
