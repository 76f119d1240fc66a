/// Reads the command that the model gave out of the shell call that Codex makes of it.
enum ShellCommand {
  /// `/bin/bash -lc 'echo hi'` → `echo hi`; anything else stays as it is.
  static func unwrapped(_ text: String) -> String {
    guard let words = words(text), words.count == 3, words[1] == "-lc" || words[1] == "-c",
      ["bash", "sh", "zsh"].contains(words[0].split(separator: "/").last.map(String.init) ?? "")
    else { return text }
    return words[2]
  }

  /// The words of a POSIX shell command line, quotes removed; nil where a quote is not closed.
  private static func words(_ text: String) -> [String]? {
    var words: [String] = []
    var word = ""
    var isInWord = false
    var quote: Character?
    var isEscaped = false
    for character in text {
      if isEscaped {
        // Inside double quotes a backslash is kept before what it does not protect.
        if quote == "\"", !"\"\\$`\n".contains(character) { word.append("\\") }
        word.append(character)
        isEscaped = false
      } else if let open = quote {
        if character == open {
          quote = nil
        } else if character == "\\", open == "\"" {
          isEscaped = true
        } else {
          word.append(character)
        }
      } else {
        switch character {
        case "'", "\"":
          quote = character
          isInWord = true
        case "\\":
          isEscaped = true
          isInWord = true
        case " ", "\t", "\n":
          if isInWord { words.append(word) }
          word = ""
          isInWord = false
        default:
          word.append(character)
          isInWord = true
        }
      }
    }
    guard quote == nil, !isEscaped else { return nil }
    if isInWord { words.append(word) }
    return words
  }
}
