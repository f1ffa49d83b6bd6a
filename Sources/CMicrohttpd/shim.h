#include <microhttpd.h>

/// MHD_start_daemon has variable arguments, which Swift does not call. One thread serves; the socket is the caller's, listening.
static inline struct MHD_Daemon *mhd_start(int socket, MHD_AccessHandlerCallback handler, void *context) {
    return MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD, 0, NULL, NULL, handler, context, MHD_OPTION_LISTEN_SOCKET, socket,
        // A health check must get through although others keep their connections open.
        MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)16384, MHD_OPTION_END);
}
