import Glibc
import SessionModel

/// Times as the audit log writes them: `2026-11-25T21:04:05.123Z`.
enum AuditTime {
  static func text(_ moment: Timestamp) -> String {
    var seconds = time_t(moment.seconds)
    var fields = tm()
    gmtime_r(&seconds, &fields)
    let date = "\(fields.tm_year + 1900)-\(padded(fields.tm_mon + 1))-\(padded(fields.tm_mday))"
    let time = "\(padded(fields.tm_hour)):\(padded(fields.tm_min)):\(padded(fields.tm_sec))"
    return "\(date)T\(time).\(padded(Int32(moment.milliseconds % 1000), 3))Z"
  }

  private static func padded(_ number: Int32, _ width: Int = 2) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
