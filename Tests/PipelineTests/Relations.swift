import CdcCore

@testable import PgOutput
@testable import Pipeline
@testable import PostgresSource

/// Tables and RELATION messages of the tests; a column is a name and a type's OID.
enum Relations {
    struct Column {
        var name: String
        var type: UInt32 = 25
        var isKey = false
    }

    static let id = Column(name: "id", type: 23, isKey: true)
    static let name = Column(name: "name")
    static let note = Column(name: "note")

    static func sourceTable(
        _ columns: [Column] = [id, name, note],
        ref: TableRef = TableRef(schema: "public", name: "orders"),
        oid: UInt32 = 16400,
        identity: ReplicaIdentity = .default
    ) -> SourceTable {
        SourceTable(
            ref: ref,
            oid: oid,
            isPartitioned: false,
            columns: columns.map {
                ColumnDef(
                    name: $0.name,
                    type: DataType(builtInType: $0.type, modifier: -1),
                    postgresType: PostgresType(oid: $0.type, name: "type \($0.type)")
                )
            },
            key: columns.indices.filter { columns[$0].isKey },
            identity: identity,
            rowFilter: nil
        )
    }

    static func carried(
        _ columns: [Column] = [id, name, note],
        ref: TableRef = TableRef(schema: "public", name: "orders"),
        oid: UInt32 = 16400,
        identity: ReplicaIdentity = .default,
        copiedUpTo: LSN = .zero
    ) -> CarriedTable {
        let source = sourceTable(columns, ref: ref, oid: oid, identity: identity)
        return CarriedTable(source: source, schema: source.schema(sinkName: ref.name), copiedUpTo: copiedUpTo)
    }

    static func message(
        _ columns: [Column] = [id, name, note],
        ref: TableRef = TableRef(schema: "public", name: "orders"),
        oid: UInt32 = 16400,
        identity: ReplicaIdentity = .default
    ) -> RelationMessage {
        RelationMessage(
            oid: oid,
            ref: ref,
            identity: identity,
            columns: columns.map {
                RelationColumn(isKey: identity == .full || $0.isKey, name: $0.name, typeOID: $0.type, typeModifier: -1)
            }
        )
    }
}
