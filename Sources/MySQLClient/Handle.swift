internal import CMariadb
internal import CdcCore
internal import Glibc

/// The library's connection object with the options that hold for every connection.
final class Handle {
    let pointer: UnsafeMutablePointer<MYSQL>
    private var isOpen = true

    /// mysql_server_init is not safe to be called twice at once.
    ///
    /// It also has SIGPIPE ignored: OpenSSL writes without MSG_NOSIGNAL.
    private static let isReady = mysql_server_init(0, nil, nil) == 0

    init?() {
        guard Self.isReady, let pointer = mysql_init(nil) else { return nil }
        self.pointer = pointer
    }

    deinit { close() }

    /// Says good-bye, if that needs no waiting, and frees the object; ``pointer`` is not used any more.
    func close() {
        guard isOpen else { return }
        isOpen = false
        mysql_close(pointer)
    }

    /// The socket; negative where there is none.
    var socket: Int32 { mysql_get_socket(pointer) }

    /// Whether the connection is encrypted.
    var isEncrypted: Bool { mysql_get_ssl_cipher(pointer) != nil }

    /// Sets what the options say; no option file is read.
    ///
    /// - Returns: False when the library refuses an option.
    func apply(_ options: MySQLOptions) -> Bool {
        let isEncrypted = options.encryption == .required
        var accepted = true
        func set(_ option: mysql_option, _ text: String?) {
            guard let text else { return }
            accepted = mysql_options(pointer, option, text) == 0 && accepted
        }
        func set<Value: BitwiseCopyable>(_ option: mysql_option, _ value: Value) {
            withUnsafePointer(to: value) { accepted = mysql_options(pointer, option, $0) == 0 && accepted }
        }
        accepted = mariadb_set_io_wait(pointer, waitForSocket) == 0
        // "localhost" would be a Unix socket.
        set(MYSQL_OPT_PROTOCOL, MYSQL_PROTOCOL_TCP.rawValue)
        set(MYSQL_SET_CHARSET_NAME, "utf8mb4")
        // The library repeats nothing by itself: what became of a statement is the caller's question.
        set(MYSQL_OPT_RECONNECT, my_bool(0))
        // Else a server could ask for any file that this process can read.
        set(MYSQL_OPT_LOCAL_INFILE, UInt32(0))
        set(MYSQL_OPT_MAX_ALLOWED_PACKET, UInt(clamping: options.packetLimit))
        // The methods that the server may choose. Without TLS only those that never show the password, not even
        // encrypted with a key that anybody between here and the server may have sent. No dialog: nobody is there.
        let methods = "mysql_native_password,client_ed25519"
        let readable = ",caching_sha2_password,sha256_password,mysql_clear_password"
        set(MARIADB_OPT_RESTRICTED_AUTH, isEncrypted ? methods + readable : methods)
        // Always said: Connector/C 3.3 verifies nothing by default, and 3.4 wants TLS by default.
        set(MYSQL_OPT_SSL_ENFORCE, my_bool(isEncrypted ? 1 : 0))
        set(MYSQL_OPT_SSL_VERIFY_SERVER_CERT, my_bool(isEncrypted ? 1 : 0))
        guard isEncrypted else { return accepted }
        set(MARIADB_OPT_TLS_VERSION, "TLSv1.2,TLSv1.3")
        // Always a file: 3.4 takes self-signed certificates where none is named.
        set(MYSQL_OPT_SSL_CA, options.certificateAuthority ?? systemCertificates)
        set(MYSQL_OPT_SSL_CERT, options.certificate)
        set(MYSQL_OPT_SSL_KEY, options.key)
        return accepted
    }

    /// What the library says of the last call.
    var errorCode: UInt32 { mysql_errno(pointer) }
    /// What the library or the server says of the last call, unredacted.
    var errorText: String { mysql_error(pointer).map { String(cString: $0) } ?? "" }
    /// The server's SQLSTATE.
    var sqlState: String { mysql_sqlstate(pointer).map { String(cString: $0) } ?? "" }

    /// Ends the connection without a word, whatever state it is in.
    ///
    /// What the kernel has received already can still be read; nothing comes after it, so no later call can hang.
    func shutDown() {
        let socket = socket
        if socket >= 0 { shutdown(socket, Int32(SHUT_RDWR)) }
    }
}

/// Debian's and Ubuntu's bundle of certificates (package ca-certificates).
let systemCertificates = "/etc/ssl/certs/ca-certificates.crt"
