import Harness
import SessionModel
import Testing

struct HarnessLineSplitterTests {
  @Test("lines come out whole with their offsets, however the bytes were cut", arguments: 1...7)
  func cuts(_ size: Int) throws {
    let output = Array("{\"a\":1}\n\n{\"b\":\"two\"}\nrest".utf8)
    var splitter = HarnessLineSplitter(limit: 100)
    var lines: [HarnessLine] = []
    for start in stride(from: 0, to: output.count, by: size) {
      let end = min(start + size, output.count)
      lines += try splitter.feed(Array(output[start..<end]), at: Int64(start))
    }
    #expect(lines.map(\.offset) == [0, 9])
    #expect(lines.map { String(decoding: $0.bytes, as: UTF8.self) } == ["{\"a\":1}", "{\"b\":\"two\"}"])
    #expect(splitter.unread == 21)
  }

  @Test("a line at the limit passes, one byte more does not")
  func limit() throws {
    var splitter = HarnessLineSplitter(limit: 8)
    #expect(try splitter.feed(Array("12345678\n".utf8), at: 0).count == 1)
    #expect(throws: CentaurError.self) { try splitter.feed(Array("123456789\n".utf8), at: 9) }
    var open = HarnessLineSplitter(limit: 8)
    #expect(throws: CentaurError.self) { try open.feed(Array("123456789".utf8), at: 0) }
  }
}
