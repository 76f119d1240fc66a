public import CoreMetrics
import Synchronization
import SessionModel

/// Keeps what the rooms count and writes it as Prometheus text (exposition format 0.0.4) for `GET /metrics`.
///
/// Concurrency: one lock around one dictionary; nothing is awaited under it.
public final class PrometheusMetrics: MetricsFactory {
  struct Series: Hashable {
    var label: String
    var dimensions: String
  }

  enum Value {
    case counter(Double)
    case gauge(Double)
    case summary(count: Int, sum: Double)
  }

  private let values = Mutex<[Series: Value]>([:])

  public init() {}

  /// All series, sorted by name.
  public var text: String {
    let values = values.withLock { $0 }
    var lines: [String] = []
    var label = ""
    for (series, value) in values.sorted(by: { ($0.key.label, $0.key.dimensions) < ($1.key.label, $1.key.dimensions) })
    {
      if series.label != label {
        label = series.label
        lines.append("# TYPE \(label) \(value.typeName)")
      }
      let dimensions = series.dimensions.isEmpty ? "" : "{\(series.dimensions)}"
      switch value {
      case .counter(let number), .gauge(let number): lines.append("\(label)\(dimensions) \(number)")
      case .summary(let count, let sum):
        lines.append("\(label)_sum\(dimensions) \(sum)")
        lines.append("\(label)_count\(dimensions) \(count)")
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  fileprivate func update(_ series: Series, _ change: (inout Value?) -> Void) {
    values.withLock { change(&$0[series]) }
  }

  private func series(_ label: String, _ dimensions: [(String, String)]) -> Series {
    let name = String(label.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "_" })
    let text = dimensions.map { key, value in
      "\(key)=\"\(value.replacing("\n", with: " ").onOneLine.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    }
    return Series(label: name, dimensions: text.joined(separator: ","))
  }

  public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    let handler = Handler(metrics: self, series: series(label, dimensions), factor: 1)
    handler.increment(by: 0)
    return handler
  }

  public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    aggregate
      ? Handler(metrics: self, series: series(label, dimensions), factor: 1)
      : Gauge(metrics: self, series: series(label, dimensions))
  }

  public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    Handler(metrics: self, series: series(label, dimensions), factor: 1e-9)
  }

  // Series stay until the server ends: a counter that went away and came back would read as a restart.
  public func destroyCounter(_ handler: any CounterHandler) {}
  public func destroyRecorder(_ handler: any RecorderHandler) {}
  public func destroyTimer(_ handler: any TimerHandler) {}
}

extension PrometheusMetrics.Value {
  fileprivate var typeName: String {
    switch self {
    case .counter: "counter"
    case .gauge: "gauge"
    case .summary: "summary"
    }
  }
}

private final class Handler: CounterHandler, RecorderHandler, TimerHandler {
  private let metrics: PrometheusMetrics
  private let series: PrometheusMetrics.Series
  private let factor: Double

  init(metrics: PrometheusMetrics, series: PrometheusMetrics.Series, factor: Double) {
    self.metrics = metrics
    self.series = series
    self.factor = factor
  }

  func increment(by amount: Int64) {
    metrics.update(series) { value in
      if case .counter(let number) = value {
        value = .counter(number + Double(amount))
      } else {
        value = .counter(Double(amount))
      }
    }
  }

  func reset() { metrics.update(series) { $0 = .counter(0) } }

  func record(_ value: Int64) { record(Double(value)) }

  func record(_ number: Double) {
    metrics.update(series) { value in
      if case .summary(let count, let sum) = value {
        value = .summary(count: count + 1, sum: sum + number * factor)
      } else {
        value = .summary(count: 1, sum: number * factor)
      }
    }
  }

  func recordNanoseconds(_ duration: Int64) { record(Double(duration)) }
}

private final class Gauge: RecorderHandler {
  private let metrics: PrometheusMetrics
  private let series: PrometheusMetrics.Series

  init(metrics: PrometheusMetrics, series: PrometheusMetrics.Series) {
    self.metrics = metrics
    self.series = series
  }

  func record(_ value: Int64) { record(Double(value)) }
  func record(_ value: Double) { metrics.update(series) { $0 = .gauge(value) } }
}
