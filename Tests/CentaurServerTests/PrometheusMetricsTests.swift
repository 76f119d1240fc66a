import CentaurServer
import CoreMetrics
import Testing

/// What `GET /metrics` says.
struct PrometheusMetricsTests {
  @Test("counters, timers and gauges are written in the text format, sorted by name")
  func text() {
    let metrics = PrometheusMetrics()
    let ended = metrics.makeCounter(label: "turns_ended_total", dimensions: [("status", "failed")])
    metrics.makeCounter(label: "turns_ended_total", dimensions: [("status", "completed")]).increment(by: 2)
    ended.increment(by: 1)
    ended.increment(by: 1)
    let timer = metrics.makeTimer(label: "start_seconds", dimensions: [])
    timer.recordNanoseconds(1_500_000_000)
    timer.recordNanoseconds(500_000_000)
    let gauge = metrics.makeRecorder(label: "sandboxes", dimensions: [], aggregate: false)
    gauge.record(3 as Int64)
    gauge.record(1.5)
    metrics.makeRecorder(label: "sizes", dimensions: [], aggregate: true).record(7 as Int64)
    _ = metrics.makeCounter(label: "never", dimensions: [])
    #expect(
      metrics.text == """
        # TYPE never counter
        never 0.0
        # TYPE sandboxes gauge
        sandboxes 1.5
        # TYPE sizes summary
        sizes_sum 7.0
        sizes_count 1
        # TYPE start_seconds summary
        start_seconds_sum 2.0
        start_seconds_count 2
        # TYPE turns_ended_total counter
        turns_ended_total{status="completed"} 2.0
        turns_ended_total{status="failed"} 2.0

        """)
  }

  @Test("names and values cannot break the format")
  func escaping() {
    let metrics = PrometheusMetrics()
    metrics.makeCounter(label: "http.requests-é total", dimensions: [("path", "a\"b\\c\nd")]).increment(by: 1)
    #expect(
      metrics.text == """
        # TYPE http_requests___total counter
        http_requests___total{path="a\\"b\\\\c d"} 1.0

        """)
  }

  @Test("the same counter made twice is one, and stays when its maker is gone")
  func same() {
    let metrics = PrometheusMetrics()
    for _ in 0..<3 {
      let counter = metrics.makeCounter(label: "n", dimensions: [("a", "1"), ("b", "2")])
      counter.increment(by: 1)
      metrics.destroyCounter(counter)
    }
    #expect(metrics.text == "# TYPE n counter\nn{a=\"1\",b=\"2\"} 3.0\n")
    metrics.makeCounter(label: "n", dimensions: [("a", "1"), ("b", "2")]).reset()
    #expect(metrics.text.contains("} 0.0"))
  }

  @Test("nothing is lost when many count at once")
  func concurrent() async {
    let metrics = PrometheusMetrics()
    await withTaskGroup { group in
      for _ in 0..<8 {
        group.addTask {
          for _ in 0..<500 { metrics.makeCounter(label: "n", dimensions: []).increment(by: 1) }
        }
      }
    }
    #expect(metrics.text == "# TYPE n counter\nn 4000.0\n")
  }
}
