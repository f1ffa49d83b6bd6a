#pragma once
#include <mysql.h>

/// MARIADB_OPT_IO_WAIT: `wait` is called instead of poll(2) wherever the library would block on its socket. It gets the
/// socket, whether the library wants to read, and its own time-out in milliseconds; below 1 means failure, 1 means ready.
/// ISO C has no conversion from a function to the `const void *` that mysql_options takes; POSIX has.
static inline int mariadb_set_io_wait(MYSQL *mysql, int (*wait)(my_socket, my_bool, int)) {
    return mysql_options(mysql, MARIADB_OPT_IO_WAIT, (const void *)wait);
}
