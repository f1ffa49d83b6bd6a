"""What the emulator says no with."""


class SqlError(Exception):
    """An error on the MySQL port: MySQL's number and the front end's words."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class LoadError(Exception):
    """Why a load fails; `status` is what the reply calls it."""

    def __init__(self, message, status="Fail", existing=None, url=None):
        super().__init__(message)
        self.message, self.status, self.existing, self.url = message, status, existing, url


class Gone(Exception):
    """The connection ends here, without an answer."""


def version_number(text):
    """`3.3.5` as (3, 3, 5), for comparisons."""
    return tuple(int(part) for part in text.split("-")[0].split("."))
