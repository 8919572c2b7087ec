package shop;

import java.sql.SQLException;

/** What was ordered, and by which release. */
final class Orders {
    static long add(String item) throws SQLException {
        var sql = "INSERT INTO orders (item, release, fax) VALUES (?, ?, '') RETURNING id";
        try (var insert = Database.connection().prepareStatement(sql)) {
            insert.setString(1, item);
            insert.setString(2, System.getenv().getOrDefault("RELCTL_RELEASE", ""));
            try (var rows = insert.executeQuery()) {
                rows.next();
                return rows.getLong(1);
            }
        }
    }

    /** Null where there is none. */
    static String item(long id) throws SQLException {
        var sql = "SELECT item FROM orders WHERE id = ?";
        try (var select = Database.connection().prepareStatement(sql)) {
            select.setLong(1, id);
            try (var rows = select.executeQuery()) {
                return rows.next() ? rows.getString(1) : null;
            }
        }
    }

    private Orders() {}
}
