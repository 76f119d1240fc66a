// swift-tools-version: 6.2
import PackageDescription

// Without MemberImportVisibility (SE-0444): C's structures belong to Glibc or to NIO's copies of the same headers,
// whichever the compiler happened to load first, so that a member was visible in one build and not in the next.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),  // SE-0335
  .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioHTTPTypesHTTP1 = Target.Dependency.product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

/// A room of the house. Rooms are listed floor by floor: each may use those above it in this list, never below.
func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func program(_ name: String, _ dependencies: [Target.Dependency], linker: [LinkerSetting] = []) -> Target {
  .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings, linkerSettings: linker)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], fixtures: Bool = false) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, exclude: fixtures ? ["Fixtures"] : [], swiftSettings: settings)
}

let package = Package(
  name: "centaur",
  products: [
    .executable(name: "centaur", targets: ["centaur"]),
    .executable(name: "centaur-shim", targets: ["centaur-shim"]),
    .executable(name: "centaur-stand-in-model", targets: ["centaur-stand-in-model"]),
  ],
  dependencies: [
    .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1"),
    .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", exact: "1.35.2"),
    .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
  ],
  targets: [
    // Floor 0: values.
    room("SessionModel"),
    // The shim, and what it shares with its client. No dependency but the C library: it must stay small.
    .target(name: "CShimSystem"),
    room("ShimProtocol"),
    // Swift's own libraries are linked in: in a sandbox there are none, and it starts in milliseconds without them.
    program("centaur-shim", ["CShimSystem", "ShimProtocol"], linker: [.unsafeFlags(["-static-stdlib"])]),
    // The scripted model.
    room("StandInModel", ["SessionModel", hummingbird, httpTypes, logging, nioCore]),
    program("centaur-stand-in-model", ["StandInModel", argumentParser, logging]),
    // Floor 1: backends.
    room("Sandbox", ["SessionModel", "ShimProtocol", "CShimSystem", nioCore, nioPosix, logging]),
    room("SQLiteStore", ["SessionModel", grdb]),
    // Floor 2: harnesses, and the way out to the providers.
    room("Harness", ["SessionModel"]),
    room("ModelGateway", ["SessionModel", asyncHTTPClient, logging, nioCore, nioHTTP1, nioPosix]),
    // Floor 3.
    room("ControlPlane", ["SessionModel", "ShimProtocol", "Sandbox", "Harness", crypto, lifecycle, logging, metrics]),
    // Floor 4: one dialect each, and what HTTP is to all of them.
    room(
      "Ingress",
      [
        "SessionModel", "ControlPlane", hummingbird, httpTypes, logging, metrics, nioCore, nioHTTP1, nioHTTPTypes,
        nioHTTPTypesHTTP1, nioWebSocket,
      ]),
    room("ResponsesIngress", ["SessionModel", "ControlPlane", "Ingress", hummingbird, httpTypes, nioCore, logging]),
    room(
      "MessagesIngress",
      ["SessionModel", "ControlPlane", "Ingress", hummingbird, httpTypes, nioCore, logging, crypto]),
    room(
      "SessionAPI", ["SessionModel", "Sandbox", "ControlPlane", "Ingress", hummingbird, httpTypes, nioCore, logging]),
    // Floor 5.
    room(
      "CentaurServer",
      [
        "SessionModel", "CShimSystem", "ShimProtocol", "Sandbox", "SQLiteStore", "Harness", "ModelGateway",
        "ControlPlane", "Ingress", "ResponsesIngress", "MessagesIngress", "SessionAPI", "StandInModel", asyncHTTPClient,
        crypto,
        hummingbird, httpTypes, lifecycle, logging, metrics, nioCore, nioHTTP1, unixSignals, yams,
      ]),
    // Floor 6.
    program("centaur", ["CentaurServer", "SessionModel", argumentParser, logging, unixSignals]),

    .target(name: "GoldenFiles", path: "Tests/GoldenFiles", swiftSettings: settings),
    .target(name: "SampleTurns", dependencies: ["SessionModel"], path: "Tests/SampleTurns", swiftSettings: settings),
    // What must hold whatever the bytes are: `make fuzz` (tools/fuzz) has the fuzzer's program.
    .target(
      name: "FuzzTargets",
      dependencies: [
        "SessionModel", "ShimProtocol", "Harness", "ModelGateway", "ControlPlane", "Ingress", "ResponsesIngress",
        "MessagesIngress", "SessionAPI", "CentaurServer", httpTypes, nioCore, nioHTTP1, nioWebSocket,
      ],
      path: "fuzz/Targets", swiftSettings: settings),
    tests("FuzzTests", ["FuzzTargets"]),
    tests("SessionModelTests", ["SessionModel"]),
    tests(
      "StandInModelTests", ["StandInModel", "SessionModel", asyncHTTPClient, logging, nioCore, nioHTTP1, nioPosix]),
    tests("SandboxTests", ["Sandbox", "ShimProtocol", "CShimSystem", "SessionModel", nioCore, nioPosix]),
    tests("ModelGatewayTests", ["ModelGateway", "SessionModel", logging, nioCore, nioHTTP1, nioPosix]),
    tests("SQLiteStoreTests", ["SQLiteStore", "SessionModel", grdb]),
    tests("HarnessTests", ["Harness", "SessionModel", "GoldenFiles"], fixtures: true),
    tests(
      "ControlPlaneTests",
      ["ControlPlane", "SQLiteStore", "Sandbox", "Harness", "SessionModel", "GoldenFiles", lifecycle, logging],
      fixtures: true),
    tests(
      "ResponsesIngressTests",
      [
        "ResponsesIngress", "Ingress", "ControlPlane", "SessionModel", "GoldenFiles", "SampleTurns", httpTypes, nioCore,
        nioEmbedded, nioHTTPTypes, nioWebSocket,
      ],
      fixtures: true),
    tests(
      "MessagesIngressTests",
      ["MessagesIngress", "Ingress", "ControlPlane", "SessionModel", "GoldenFiles", "SampleTurns"],
      fixtures: true),
    tests(
      "CentaurServerTests",
      [
        "CentaurServer", "ControlPlane", "ModelGateway", "SQLiteStore", "Sandbox", "Ingress", "SessionModel",
        hummingbird, httpTypes,
        logging, metrics, .product(name: "HummingbirdTesting", package: "hummingbird"),
      ]),
  ]
)
