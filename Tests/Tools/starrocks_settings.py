"""What tests may turn: the front end's configuration, and how slow or careful the emulator is."""

DEFAULTS = {
    # fe.conf: labels are kept for three days and at most so many, a database runs at most so many transactions.
    "label_keep_max_second": 259200,
    "label_keep_max_num": 1000,
    "max_running_txn_num_per_db": 1000,
    # A load that brings no row at all is an error.
    "empty_load_as_error": True,
    # How long a load waits for its version to become visible, in seconds.
    "publish_timeout": 1.0,
    # Bytes a second at which the back end reads bodies; 0 is as fast as they come.
    "throttle": 0,
    # Seconds that a schema change takes that is not a fast one.
    "alter_seconds": 0.5,
    # Reads the body of a load whose label is taken, to compare it; the real back end answers before it.
    "read_body_on_reuse": False,
}


class Settings:
    """Kept in the store, so that a restarted emulator behaves as before."""

    def __init__(self, store):
        self.store = store
        self.values = dict(DEFAULTS, **store.setting("settings", {}))

    def __getitem__(self, name):
        return self.values[name]

    def set(self, name, value):
        if name not in DEFAULTS:
            raise ValueError(f"no such setting: {name}; there are {sorted(DEFAULTS)}")
        self.values[name] = value
        self.store.set("settings", {key: v for key, v in self.values.items() if v != DEFAULTS[key]})

    def all(self):
        return dict(self.values)

    def clear(self):
        self.values = dict(DEFAULTS)
        self.store.set("settings", {})
