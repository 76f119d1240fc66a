import Glibc

/// Strings as `execve` wants them: a list that ends with nil, valid until `body` returns. For the shim and for whoever
/// starts one.
package func withCStrings<T>(
  _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> T
) -> T {
  var copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
  copies.append(nil)
  defer { for copy in copies { free(copy) } }
  return copies.withUnsafeBufferPointer { buffer in
    // A buffer that holds at least the closing nil has a base address.
    guard let base = buffer.baseAddress else { preconditionFailure("an empty list") }
    return body(base)
  }
}
