"""Users, their passwords and what they may do."""

import base64
import fnmatch

ALL = {"SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP", "CREATE TABLE", "CREATE VIEW", "CREATE DATABASE"}


class Users:
    """As JSON: name -> {"password": text, "grants": [[privilege or ALL, "db.table" with * for any]]}."""

    def __init__(self, store):
        self.store = store
        self.users = store.setting("users") or {"root": {"password": "", "grants": [["ALL", "*.*"]]}}

    def set(self, users):
        for name, user in users.items():
            if set(user) - {"password", "grants"}:
                raise ValueError(f"user {name}: only password and grants")
            for privilege, target in user.get("grants", []):
                if privilege.upper() not in ALL | {"ALL"} or "." not in target:
                    raise ValueError(f"user {name}: no such grant {privilege} on {target}")
        self.store.set("users", users)
        self.users = users

    def password(self, name):
        user = self.users.get(name)
        return None if user is None else user.get("password", "")

    def may(self, name, privilege, db, table="*"):
        """`table` None asks for anything in the database."""
        for granted, target in self.users.get(name, {}).get("grants", []):
            database, _, pattern = target.partition(".")
            if granted.upper() in ("ALL", privilege) and fnmatch.fnmatchcase(db, database):
                if table is None or fnmatch.fnmatchcase(table, pattern):
                    return True
        return False

    def sees(self, name, db, table=None):
        """Whether any privilege speaks of it: information_schema and SHOW leave the rest out."""
        return any(self.may(name, privilege, db, table) for privilege in ALL)


def basic(header):
    """The name and the password of a Basic authorization, None where there is none."""
    if not header or not header.lower().startswith("basic "):
        return None
    try:
        name, colon, password = base64.b64decode(header[6:].strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None
