import HTTPTypes
import Hummingbird
import Ingress
import SessionModel

/// `GET /v1/models` and `/v1/models/{id}`: one answer that each client finds its own in.
///
/// OpenAI's SDKs read `data` with `id`, `created` and `owned_by`; Anthropic's read `data` with `display_name` and
/// `created_at`, and the cursors beside it; Codex reads `models` (Codex 0.163.0, wire/codex-client.md §6).
struct ModelRoutes {
  let models: [String]

  func add(to router: Router<EdgeRequestContext>) {
    router.get("/v1/models") { _, _ in Response.json(list) }
    router.get("/v1/models/**") { _, context in
      let id = context.parameters.getCatchAll().joined(separator: "/")
      guard models.contains(id) else {
        throw CentaurError(.modelNotFound, "There is no model '\(id.prefix(128))' here.", parameter: "model")
      }
      return Response.json(Self.entry(id))
    }
  }

  private static func entry(_ model: String) -> JSONValue {
    [
      "id": .string(model), "object": "model", "created": 0, "owned_by": "centaur", "type": "model",
      "display_name": .string(model), "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active",
    ]
  }

  private static func codexEntry(_ model: String) -> JSONValue {
    [
      "slug": .string(model), "display_name": .string(model), "supported_reasoning_levels": [],
      "shell_type": "disabled", "visibility": "list", "supported_in_api": true, "priority": 1,
      "base_instructions": "The agent on the server has instructions of its own.",
      "supports_reasoning_summaries": true, "support_verbosity": false,
      "truncation_policy": ["mode": "bytes", "limit": 10000], "supports_parallel_tool_calls": true,
      "context_window": 272_000, "experimental_supported_tools": [],
    ]
  }

  private var list: JSONValue {
    [
      "object": "list", "data": .array(models.map(Self.entry)), "has_more": false,
      "first_id": JSONValue(models.first), "last_id": JSONValue(models.last),
      "models": .array(models.map(Self.codexEntry)),
    ]
  }
}
