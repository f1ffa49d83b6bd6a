-- The demo database of compose.yaml: two tables, the daemon's role, and the publication, which only the tables' owner can
-- make. psql runs it once, when the server's data directory is made.
\set ON_ERROR_STOP on
\set source_password `cat "$SOURCE_PASSWORD_FILE"`

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    since date NOT NULL DEFAULT current_date
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers (id),
    amount numeric(12, 2) NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 100) AS n;
INSERT INTO orders (customer_id, amount) SELECT 1 + n % 100, n * 1.25 FROM generate_series(1, 1000) AS n;

CREATE ROLE dbmazz LOGIN REPLICATION PASSWORD :'source_password';
GRANT USAGE ON SCHEMA public TO dbmazz;
GRANT SELECT ON customers, orders TO dbmazz;
CREATE PUBLICATION dbmazz_pub FOR TABLE customers, orders WITH (publish_via_partition_root = true);
