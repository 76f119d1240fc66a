import SessionModel

/// Instructions that take the place of those that a conversation began with, in words: no harness can be given others in
/// its own way once a conversation has begun.
enum NewInstructions {
  static func words(_ instructions: String) -> String {
    "<new_instructions>\nThe instructions for you have changed. From now on these hold, in place of all that were given "
      + "before:\n\n\(instructions)\n</new_instructions>"
  }
}
