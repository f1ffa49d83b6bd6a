// swift-tools-version: 6.2
import PackageDescription

/// One list for every Swift target: the language mode and the upcoming features the code is written for.
///
/// Failpoints (places at which a test can have the process killed) exist in debug builds only.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
    .define("FAILPOINTS", .when(configuration: .debug)),
]

let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "dbmazz-sink",
    products: [
        .executable(name: "dbmazz-sink", targets: ["dbmazz-sink"]),
        .library(
            name: "DbmazzSink",
            targets: ["CdcCore", "PgOutput", "PostgresSource", "Pipeline", "Sinks", "Settings"]
        ),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .systemLibrary(name: "CMicrohttpd", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLz4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CMariadb", pkgConfig: "libmariadb", providers: [.apt(["libmariadb-dev"])]),
        .target(name: "CLinux"),

        .target(name: "Libpq", dependencies: ["CLibpq"], swiftSettings: settings),
        .target(name: "CdcCore", dependencies: ["CLinux"], swiftSettings: settings),
        .target(
            name: "HTTPClient",
            dependencies: ["CdcCore", "CCurl", "CLz4", "CZlib", "CZstd"],
            swiftSettings: settings
        ),
        .target(name: "MySQLClient", dependencies: ["CdcCore", "CMariadb"], swiftSettings: settings),
        .target(name: "PgOutput", dependencies: ["CdcCore"], swiftSettings: settings),
        .target(
            name: "PostgresSource",
            dependencies: ["CdcCore", "PgOutput", "Libpq", "CLibpq", "CLinux", logging],
            swiftSettings: settings
        ),
        .target(
            name: "Pipeline",
            dependencies: [
                "CdcCore", "PgOutput", "PostgresSource", "CLinux",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                logging,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Sinks",
            dependencies: ["CdcCore", "CSQLite", "Libpq", "CLibpq", "CLinux", "HTTPClient", "MySQLClient", logging],
            exclude: [
                "ClickHouse/README.md", "StarRocks/README.md", "Postgres/README.md", "SQLite/README.md",
                "Stdout/README.md", "Null/README.md",
                "_Template/README.md",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Settings",
            dependencies: [
                "CdcCore", "Sinks",
                .product(name: "Configuration", package: "swift-configuration"),
                logging,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Operations",
            dependencies: [
                "Pipeline", "Settings", "CSystemd", "CMicrohttpd",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                logging,
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "dbmazz-sink",
            dependencies: [
                "CdcCore", "PostgresSource", "Pipeline", "Sinks", "Settings", "Operations", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                logging,
            ],
            swiftSettings: settings
        ),

        // What `scripts/bench starrocks` builds for release and runs.
        .executableTarget(
            name: "encoding-bench",
            dependencies: ["CdcCore", "HTTPClient", "Sinks", "CZlib"],
            path: "Tests/Bench",
            swiftSettings: settings
        ),
        .target(
            name: "TestSupport",
            dependencies: ["CLibpq", "CSQLite", "CLinux"],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        .target(
            name: "SinkConformance",
            dependencies: ["CdcCore"],
            path: "Tests/SinkConformance",
            swiftSettings: settings
        ),
        .testTarget(name: "CdcCoreTests", dependencies: ["CdcCore"], swiftSettings: settings),
        .testTarget(
            name: "HTTPClientTests",
            dependencies: ["CdcCore", "HTTPClient", "CLz4", "CZlib", "CZstd", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "MySQLClientTests",
            dependencies: ["CdcCore", "MySQLClient", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(name: "PgOutputTests", dependencies: ["CdcCore", "PgOutput"], swiftSettings: settings),
        .testTarget(
            name: "PipelineTests",
            dependencies: [
                "CdcCore", "PgOutput", "PostgresSource", "Pipeline",
                .product(name: "CoreMetrics", package: "swift-metrics"), logging,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SinksTests",
            dependencies: ["CdcCore", "Sinks", "Libpq", "CSQLite", "TestSupport", "SinkConformance"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SettingsTests",
            dependencies: ["CdcCore", "Settings", "Sinks", logging],
            swiftSettings: settings
        ),
        .testTarget(
            name: "OperationsTests",
            dependencies: [
                "CdcCore", "Pipeline", "Operations", "Settings", "TestSupport",
                .product(name: "CoreMetrics", package: "swift-metrics"), logging,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "CdcCore", "PostgresSource", "Operations", "Pipeline", "Settings", "Sinks", "TestSupport",
                "SinkConformance",
                "dbmazz-sink",
                logging,
            ],
            swiftSettings: settings
        ),
    ]
)
