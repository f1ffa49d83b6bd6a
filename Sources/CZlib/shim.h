#pragma once
#include <zlib.h>

/// deflateInit2 is a macro, which Swift does not see. 15 is the window's largest size, 16 more asks for gzip's envelope.
static inline int gzip_begin(z_stream *stream, int level) {
    return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}
